"""Text to numbers and back: nothing is lost, and what is damaged on disk is made again."""

import contextlib
import itertools
import json
import os
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nn.files import locked
from nn.run import tokenizers
from nn.run import tokens as token_files
from nn.run.evaluation import evaluate_text
from nn.run.tokenizers import (
    TOKENIZERS,
    BPETokenizer,
    CharTokenizer,
    WordTokenizer,
    load_tokenizer,
    readable,
    stream_text,
)  # fmt: skip
from nn.run.tokens import (
    TokenFile,
    encode_files,
    open_tokens,
    read_pieces,
    text_digest,
    text_files,
    tokenize,
)  # fmt: skip

END = "<|endoftext|>"
ENGLISH = "To be, or not to be, that is the question.\nWhether 'tis nobler in the mind\n" * 4
KOREAN = "나 보기가 역겨워\r\n가실 때에는 😀\r\n말없이 고이 보내 드리우리다.\r\n" * 4
PARTS = [
    END, "<|endof", " ", "  ", "\n", "\r\n", "\t", "\0", "\ufeff", "\u3000", "\x1c", "\x85",
    "한국어", "\u1100\u1161", "👩\u200d👩\u200d👧", "🇰🇷", "e\u0301", "Σ", "ΑΣ", "İ", "ß",
    "don't", "'s", "123", "!?", "a",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=20).map("".join)

# White space as Unicode has it between words, and in words what only Python takes for such.
GAPS = st.text(st.sampled_from(" \n\t\r\v\f\x85\xa0\u2003\u2028\u3000"), min_size=1, max_size=3)
LETTERS = st.characters(codec="utf-8").filter(lambda character: not character.isspace())
WORDS = st.sampled_from([part for part in PARTS if not part.isspace()] + ["!\x1c!", "a\x1fΣ"])
WORDS |= st.text(LETTERS, min_size=1, max_size=4)
SENTENCES = st.lists(st.builds(str.__add__, WORDS, GAPS), min_size=5, max_size=60).map("".join)


pytestmark = pytest.mark.usefixtures("no_wait_for_the_disk")


@pytest.fixture(scope="module")
def bpe():
    pytest.importorskip("tokenizers")
    return BPETokenizer().fit([ENGLISH, KOREAN], 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples of Hypothesis."""
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(params=["word", "char", "bpe"])
def kind(request):
    if request.param == "bpe":
        pytest.importorskip("tokenizers")
    return request.param


def put(path, data):
    path.unlink(missing_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@contextlib.contextmanager
def pieces_of(size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_files, "_PIECE", size)
        yield


def fitted(kind, text, vocab_size=None):
    return TOKENIZERS[kind]().fit(text, vocab_size)


def requested(path, kind="char", vocab_size=None):
    return {"text": text_digest([path]), "kind": kind, "vocab_size": vocab_size}


# ---------------------------------------------------------------- characters


@given(text=TEXTS)
def test_any_text_comes_back_from_characters(text):
    tokenizer = CharTokenizer().fit(text)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text) and tokenizer.decode(ids) == text
    assert tokenizer.decode(np.array(ids, int)) == text
    assert tokenizer.tokens == sorted(set(text)) and tokenizer.vocab_size == len(set(text))
    assert list(tokenizer.starts()) == list(range(tokenizer.vocab_size))
    assert tokenizer.unknown(text) == [] and tokenizer.stop is None and tokenizer.separator is None


def test_characters_never_seen():
    tokenizer = CharTokenizer().fit("abc")
    with pytest.raises(ValueError, match=r"never seen: '\\n' 'X' '가'; leave them out, or train"):
        tokenizer.encode("a가X\nb")
    with pytest.raises(ValueError, match=r"never seen: 'A' 'B'.* 'T' and 6 more; leave"):
        tokenizer.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for n, message in ((20, "'T'; leave"), (21, "'T' and 1 more; leave")):
        with pytest.raises(ValueError, match=f" {message}"):
            tokenizer.encode("ABCDEFGHIJKLMNOPQRSTU"[:n])
    assert tokenizer.unknown("zebra") == ["e", "r", "z"]
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""


def test_more_characters_than_the_vocabulary_may_have():
    assert CharTokenizer().fit("abcab", 3).vocab_size == 3
    message = "the text has 3 different characters, more than vocab_size 2: leave it out"
    with pytest.raises(ValueError, match=message):
        CharTokenizer().fit(["ab", "ca"], 2)


# ---------------------------------------------------------------- words


def test_the_most_frequent_words():
    text = "b b b a a c c d <PAD> <pad>"
    assert WordTokenizer().fit(text).tokens[4:] == ["<pad>", "a", "b", "c", "d"]
    assert WordTokenizer().fit(text, 6).tokens[4:] == ["a", "b"]  # of a and c, the first
    assert WordTokenizer().fit(["C c", "b\tB", "\nb c C"], 5).tokens[4:] == ["c"]
    assert WordTokenizer().fit(text, 99).vocab_size == 9
    assert WordTokenizer().fit(text, 4).encode("b a x") == [1, 1, 1]
    assert WordTokenizer().fit(text, 0).tokens == ["<PAD>", "<UNK>", "<START>", "<END>"]
    assert WordTokenizer().fit("").tokens == WordTokenizer().tokens


@given(text=TEXTS)
def test_words_come_back_in_lower_case(text):
    tokenizer = WordTokenizer().fit(text)
    ids = tokenizer.encode(text)
    lines = [" ".join(line.split()) for line in text.lower().split("\n")]
    assert tokenizer.decode(ids) == "\n".join(lines)
    assert set(ids) == set(tokenizer.starts()) and tokenizer.unknown(text) == []
    assert tokenizer.stop == tokenizer.tokens.index("<END>") and tokenizer.separator is None


@given(text=TEXTS, known=TEXTS)
def test_unknown_words_are_those_that_become_unk(text, known):
    tokenizer = WordTokenizer().fit(known)
    words = text.lower().replace("\n", " \n " if "\n" in known else " ").split(" ")
    words = [word for part in words for word in (["\n"] if part == "\n" else part.split())]
    words = {word for word, i in zip(words, tokenizer.encode(text), strict=True) if i == 1}
    assert tokenizer.unknown(text) == sorted(words)


# ---------------------------------------------------------------- byte pairs


@given(text=TEXTS)
def test_any_text_comes_back_from_byte_pairs(bpe, text):
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text and bpe.decode(np.array(ids, int)) == text
    assert all(0 <= i < bpe.vocab_size for i in ids) and bpe.unknown(text) == []
    assert ids.count(bpe.stop) == text.count(END)


@given(text=TEXTS.filter(lambda text: END not in text))
def test_every_byte_has_a_token(bpe, text):
    """Where there is nothing else, a text has as many tokens as bytes."""
    bytes_only = BPETokenizer().fit("", 257)
    ids, data = bytes_only.encode(text), text.encode()
    assert bytes_only.vocab_size == 257 and len(ids) == len(data) and max(ids, default=0) < 256
    assert len(set(zip(ids, data, strict=True))) == len(set(ids)) == len(set(data))
    assert bytes_only.decode(ids) == text


@pytest.mark.parametrize("text", ["", ENGLISH, END * 50, [KOREAN, END, ENGLISH]])
@pytest.mark.parametrize("size", [257, 258, 290])
def test_the_end_is_the_last_token(bpe, text, size):
    tokenizer = BPETokenizer().fit(text, size)
    assert tokenizer.stop == tokenizer.separator == tokenizer.vocab_size - 1
    assert tokenizer.encode(END) == [tokenizer.stop] and tokenizer.decode([tokenizer.stop]) == END
    assert 257 <= tokenizer.vocab_size <= size
    assert list(tokenizer.starts()) == list(range(tokenizer.vocab_size))


def test_sizes_of_a_vocabulary_of_byte_pairs(bpe):
    for size in (257, 280):
        assert BPETokenizer().fit(KOREAN, size).vocab_size == size
    assert BPETokenizer().fit("ab ab ab", 300).vocab_size == 259  # ab, and ab after a space
    assert BPETokenizer().fit("ab ab ab").vocab_size == 259
    for size in (256, 0, -1):
        with pytest.raises(ValueError, match=f"at least 257 .256 bytes, end., got {size}"):
            BPETokenizer().fit("ab", size)


def test_five_thousand_byte_pairs_unless_told_otherwise(bpe):
    words = itertools.product("abcdefghij", repeat=4)
    text = " ".join("".join(word) for word in words)
    assert BPETokenizer().fit(text).vocab_size == 5000


def test_text_without_white_space_is_learned_in_short_runs(bpe):
    """The time grows with the square of a run's length; ordinary text is not cut."""
    assert list(tokenizers._without_long_runs([ENGLISH, KOREAN, "x" * 1000])) == [
        ENGLISH, KOREAN, "x" * 1000]  # fmt: skip
    for text in ("ACGT" * 1000, "中" * 2500, " " * 3001, "=_" * 1000, "a" * 999 + "-" * 1001):
        pieces = list(tokenizers._without_long_runs([text, "b"]))
        assert "".join(pieces) == text + "b" and 1 < max(map(len, pieces)) < 2000
    assert BPETokenizer().fit("ACGT" * 1000, 300).vocab_size > 260


def test_byte_pairs_are_learned_alike_each_time(bpe, tmp_path):
    contents = set()
    for name in "abc":
        (tmp_path / name).mkdir()
        tokenizer = BPETokenizer().fit(iter([ENGLISH, KOREAN]), 300)
        contents.add(tokenizer.save(tmp_path / name).read_bytes())
    assert len(contents) == 1


def test_byte_pairs_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    put(tmp_path / "tokenizer.json", "{}")
    for use in (lambda: BPETokenizer().fit("text"), lambda: load_tokenizer(tmp_path)):
        with pytest.raises(ValueError, match="bpe needs the library tokenizers: pip install"):
            use()


# ---------------------------------------------------------------- any tokenizer


def test_kinds():
    assert {kind: cls.kind for kind, cls in TOKENIZERS.items()} == {k: k for k in TOKENIZERS}


@given(texts=st.lists(TEXTS, max_size=4))
def test_a_vocabulary_can_be_learned_from_pieces(texts):
    assert CharTokenizer().fit(iter(texts)).tokens == CharTokenizer().fit("".join(texts)).tokens
    assert WordTokenizer().fit(iter(texts)).tokens == WordTokenizer().fit(" ".join(texts)).tokens


@pytest.mark.parametrize("cls", [CharTokenizer, WordTokenizer])
def test_learning_a_vocabulary_keeps_no_piece(cls):
    """Or a long text would be in memory as a whole."""

    class Piece(str):
        __slots__ = ("__weakref__",)

    alive = weakref.WeakSet()

    def pieces():
        for i in range(10):
            piece = Piece(f"piece {i} ")
            assert len(alive) <= 1
            alive.add(piece)
            yield piece
            del piece

    cls().fit(pieces())


def test_tokenizers_come_back_from_disk(kind, tmp_path):
    tokenizer = fitted(kind, ENGLISH + KOREAN + "\0" + END, 300)
    path = tokenizer.save(tmp_path)
    assert path == tmp_path / tokenizer.file and list(tmp_path.iterdir()) == [path]
    again = load_tokenizer(tmp_path)
    assert type(again) is type(tokenizer) and again.vocab_size == tokenizer.vocab_size
    assert again.stop == tokenizer.stop and again.separator == tokenizer.separator
    for text in (ENGLISH, KOREAN, "\0", END):
        ids = tokenizer.encode(text)
        assert again.encode(text) == ids and again.decode(ids) == tokenizer.decode(ids)
    before = path.read_bytes()
    again.save(tmp_path)
    assert path.read_bytes() == before


@given(text=TEXTS)
def test_any_vocabulary_comes_back_from_disk(folder, text):
    for cls in (CharTokenizer, WordTokenizer):
        tokenizer = cls().fit(text)
        tokenizer.save(folder)
        again = load_tokenizer(folder)
        assert type(again) is cls and again.tokens == tokenizer.tokens


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"{}", b'{"kind": "char"}', b'{"tokens": ["a"]}', b"\xff\xfe",
        b'{"kind": "char", "tokens": ["a"', b'{"kind": "bpe", "tokens": ["a"]}',
        b'{"kind": "other", "tokens": ["a"]}', b'{"kind": ["char"], "tokens": ["a"]}',
        b'{"kind": "char", "tokens": "abc"}', b'{"kind": "char", "tokens": ["a", 1]}',
        b'{"kind": "word", "tokens": {"a": 0}}', b'{"kind": "word", "tokens": null}',
    ],
)  # fmt: skip
def test_a_damaged_vocabulary_is_named(tmp_path, content):
    path = put(tmp_path / "vocabulary.json", content)
    with pytest.raises(ValueError) as caught:
        load_tokenizer(tmp_path)
    assert str(caught.value).startswith(f"{path} is ")


def test_a_damaged_tokenizer_is_named(bpe, tmp_path):
    path = bpe.save(tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"{}", b"null", b"\xff" + whole, whole[:-9], whole[:99], whole + b"x",
                    whole.replace(b'"BPE"', b'"XYZ"'), b"[" * 10_000):  # fmt: skip
        put(path, content)
        with pytest.raises(ValueError) as caught:
            load_tokenizer(tmp_path)
        assert str(caught.value).startswith(f"{path} is ")
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=f"{path} is "):
        load_tokenizer(tmp_path)


def test_a_tokenizer_in_the_two_files_of_gpt2(bpe, tmp_path):
    bpe._model.model.save(str(tmp_path))
    again = load_tokenizer(tmp_path)
    for text in (ENGLISH, KOREAN, "\0 \x1c"):
        assert again.encode(text) == bpe.encode(text) and again.decode(again.encode(text)) == text
    vocabulary = {**json.loads((tmp_path / "vocab.json").read_text("utf-8")), END: 299}
    put(tmp_path / "vocab.json", json.dumps(vocabulary))
    again = load_tokenizer(tmp_path)
    assert again.stop == 299 and again.encode(f"To be{END}") == bpe.encode(f"To be{END}")
    for name, content in (("merges.txt", b"\xff"), ("merges.txt", None), ("vocab.json", b"{")):
        put(tmp_path / name, content or b"")
        if content is None:
            (tmp_path / name).unlink()
        with pytest.raises(ValueError, match=f"{tmp_path / 'vocab.json'} is "):
            load_tokenizer(tmp_path)


def test_no_tokenizer(tmp_path):
    with pytest.raises(ValueError, match=f"there is no tokenizer in {tmp_path}: no tokenizer"):
        load_tokenizer(tmp_path)
    CharTokenizer("abc").save(tmp_path / "missing" / "folder")  # which it makes
    assert load_tokenizer(tmp_path / "missing" / "folder").tokens == ["a", "b", "c"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file"):
        CharTokenizer("abc").save(tmp_path / "file")


# ---------------------------------------------------------------- tokenizers of other programs

SAMPLE = "To be, or not to be: that's it -- 12345 67.\n\n  Hello wörld, don't!\n나 보기가 aaaa\t\t"
DIGITS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+"


def _other(model, trainer, pre=None, normalizer=None, decoder=None, added=(), **options):
    """A tokenizer of the library, trained on SAMPLE."""
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer(getattr(library.models, model)(**options))
    for name, part in (("pre_tokenizer", pre), ("normalizer", normalizer), ("decoder", decoder)):
        if part is not None:
            setattr(made, name, part)
    special = ["<unk>"] + [f"<0x{i:02X}>" for i in range(256)] * bool(options.get("byte_fallback"))
    how = dict(vocab_size=120 if model == "Unigram" else 320 + len(special), show_progress=False)
    if "ByteLevel" in repr(pre):
        how["initial_alphabet"] = library.pre_tokenizers.ByteLevel.alphabet()
    if model == "Unigram":
        how["unk_token"] = "<unk>"
    trainer = getattr(library.trainers, trainer)(special_tokens=special, **how)
    made.train_from_iterator((SAMPLE * 4).split("\n") if pre is None else [SAMPLE * 4], trainer)
    made.add_tokens([library.AddedToken(text, lstrip=True, rstrip=True) for text in added])
    return BPETokenizer(made)


def _others():
    library = pytest.importorskip("tokenizers")
    P, N, D = library.pre_tokenizers, library.normalizers, library.decoders
    level, bytes_ = P.ByteLevel(add_prefix_space=False), P.ByteLevel(False, use_regex=False)
    llama = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    byte = dict(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    bpe, unk = ("BPE", "BpeTrainer"), dict(unk_token="<unk>")
    yield _other(*bpe, P.ByteLevel(add_prefix_space=True), decoder=D.ByteLevel())
    yield _other(*bpe, bytes_, decoder=D.ByteLevel())
    split = P.Split(library.Regex(DIGITS), "isolated")
    yield _other(*bpe, P.Sequence([split, bytes_]), decoder=D.ByteLevel())
    lower = N.Sequence([N.NFD(), N.Lowercase(), N.Strip()])
    yield _other(*bpe, P.Sequence([P.Digits(True), level]), lower, D.ByteLevel())
    yield _other(*bpe, level, decoder=D.ByteLevel(), added=["to be", "  ", "\n\n"])
    yield _other(*bpe, None, N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), llama, **byte)
    first = P.Metaspace(prepend_scheme="first", split=False)
    yield _other(*bpe, first, decoder=llama, **byte)
    yield _other(*bpe, P.WhitespaceSplit(), decoder=D.BPEDecoder(), **unk)
    yield _other("Unigram", "UnigramTrainer", P.Metaspace(), decoder=D.Metaspace())
    yield _other("WordPiece", "WordPieceTrainer", P.BertPreTokenizer(), N.BertNormalizer(),
                 D.WordPiece(), **unk)  # fmt: skip
    yield _other("WordLevel", "WordLevelTrainer", P.Whitespace(), **unk)


@pytest.fixture(scope="module")
def others(bpe):
    return [bpe, *_others()]


CHUNKS = st.sampled_from([
    "to be", "end", " ", "  ", "\n", "\n\n", "\r\n", "한국어", "é", "e\u0301", "1234567", "don't",
    "!?", "a", "aaaaa", END, "<unk>", "Σ", "😀", " hello", " world", "x", "\ufffd", ".",
])  # fmt: skip


@settings(max_examples=15)  # of eleven tokenizers
@given(text=st.lists(CHUNKS, min_size=120, max_size=300).map("".join), data=st.data())
def test_parts_of_a_text_have_the_tokens_of_the_whole(others, text, data):
    """Whatever a tokenizer looks at, and wherever the text is cut."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizers, "_PART", 250)
        patch.setattr(tokenizers, "_SHARED", 150)
        for tokenizer in others:
            whole = tokenizer._model.encode(text, add_special_tokens=False).ids
            assert tokenizer.encode(text) == whole
            assert [*itertools.chain.from_iterable(tokenizer.encode_pieces(pieces))] == whole


def test_parts_that_never_agree_are_encoded_together(others, monkeypatch):
    """In a run of one letter, where the tokens begin depends on where the run begins."""
    monkeypatch.setattr(tokenizers, "_PART", 100)
    monkeypatch.setattr(tokenizers, "_SHARED", 40)
    for tokenizer in others:
        for text in ("a" * 1001, " " * 999 + "x", "\n" * 777, ""):
            pieces = [text[i : i + 77] for i in range(0, len(text), 77)]
            whole = tokenizer._model.encode(text, add_special_tokens=False).ids
            assert [*itertools.chain.from_iterable(tokenizer.encode_pieces(pieces))] == whole


def test_a_file_does_not_cut_fill_up_or_vary_the_tokens(bpe, tmp_path):
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer.from_str(bpe.to_json())
    made.enable_truncation(8)
    made.enable_padding(length=12)
    made.model.dropout = 0.9
    made.save(str(tmp_path / "tokenizer.json"))
    again = load_tokenizer(tmp_path)
    assert again.encode(ENGLISH) == bpe.encode(ENGLISH) and again.encode("a") == bpe.encode("a")
    assert json.loads(again.to_json()) == json.loads(bpe.to_json())


def test_what_has_no_token(others):
    words = others[-1]
    assert words.unk == 0 and words.unknown("To be, zebra") == ["zebra"]
    assert others[0].unk is None and others[0].unknown("zebra 中") == []
    library = pytest.importorskip("tokenizers")
    none = BPETokenizer(library.Tokenizer(library.models.WordLevel({"a": 0}, unk_token="<unk>")))
    with pytest.raises(ValueError, match="the tokenizer cannot encode the text "):
        none.encode("b")


# ---------------------------------------------------------------- text as its tokens come


def streamed(tokenizer, before, tokens, stop=()):
    return "".join(stream_text(tokenizer, before, tokens, stop))


@settings(max_examples=25)
@given(data=st.data())
def test_streamed_text_is_the_decoded_text(others, data):
    """For any tokens: whole texts, parts of characters, bytes that are no text."""
    for tokenizer in others:
        text = "".join(data.draw(st.lists(CHUNKS, max_size=15)))
        some = st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40)
        ids = tokenizer.encode(text) if data.draw(st.booleans()) else data.draw(some)
        assert streamed(tokenizer, [], ids) == tokenizer.decode(ids)
        before = tokenizer.encode("To be")
        expected = tokenizer.decode([*before, *ids])[len(tokenizer.decode(before)) :]
        assert streamed(tokenizer, before, ids) == expected


@given(text=TEXTS, stop=st.lists(st.sampled_from(["a", "ab", "abc", "b", "é.", "\ufffd"])))
def test_a_stop_string_ends_the_text_however_it_is_cut(bpe, text, stop):
    text += "xab\ufffdé.c"
    end = min((text.find(one) for one in stop if one in text), default=len(text))
    assert streamed(bpe, [], bpe.encode(text), stop) == text[:end]
    characters = CharTokenizer().fit(text)
    assert streamed(characters, [], characters.encode(text), stop) == text[:end]


def test_replacement_characters_of_the_text_survive(bpe):
    for text in ("\ufffdé.", "\ufffd" * 50 + "é", "é\ufffd", "나\ufffd\ufffd😀"):
        assert streamed(bpe, [], bpe.encode(text)) == text
    for n in range(5):  # a character that is not complete at the end, as decode shows it
        ids = BPETokenizer().fit("", 257).encode("a😀")[:n]
        assert streamed(bpe, [], ids) == bpe.decode(ids)


# ---------------------------------------------------------------- the loss of a text


class Guess:
    """A model with the same loss for every text."""

    def __init__(self, loss=1.0):
        self.config, self.value = SimpleNamespace(block_size=8), loss
        self.eval = lambda: self

    def loss(self, ids, targets):
        return np.array(self.value)


def test_the_loss_of_unknown_tokens(others, tmp_path):
    """Bits per byte would say nothing: the bytes of what is unknown are not predicted."""
    path = put(tmp_path / "text", "to be to zebra or zebra")
    for tokenizer, unit in ((others[-1], "tokens"), (WordTokenizer().fit("to be or"), "words")):
        told = evaluate_text(Guess(), tokenizer, str(path), None, None)
        unk = tokenizer.decode([tokenizer.unk])
        assert "bits per byte" not in told and f"\n2 of 6 {unit} are {unk}, which is" in told
    told = evaluate_text(Guess(), others[0], str(path), None, None)
    assert "bits per byte" in told and "\n" not in told


def test_texts_that_have_no_loss(tmp_path):
    words = WordTokenizer().fit("a b")
    for text, message in (("", "no token"), (" \n", "no token"), ("a", "one token only")):
        path = put(tmp_path / "text", text)
        with pytest.raises(ValueError, match=f"text has {message} for this model: two are needed"):
            evaluate_text(Guess(), words, str(path), None, None)
    path = put(tmp_path / "text", "a b")
    for loss in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"the loss is {loss}: the training of the model has"):
            evaluate_text(Guess(loss), words, str(path), None, None)
    path = put(tmp_path / "text", "a b".encode("utf-16-le"))
    with pytest.raises(ValueError, match="iconv -f utf-16le"):
        evaluate_text(Guess(), words, str(path), None, None)


# ---------------------------------------------------------------- text that is typed


def test_a_prompt_with_bytes_that_are_not_utf_8(kind):
    tokenizer = fitted(kind, "a café", 300)
    typed = "café".encode().decode("ascii", "surrogateescape")  # as in a locale without UTF-8
    assert tokenizer.encode(typed) == tokenizer.encode("café") and readable(typed) == "café"
    for text in ("a\udcff", "\ud800", "caf\udce9"):
        with pytest.raises(ValueError, match="has a byte that is not UTF-8: leave it out, or type"):
            tokenizer.encode(text)


# ---------------------------------------------------------------- lines of words


def test_words_keep_line_ends():
    text = "The cat\r\nsat\n\n on a mat\n"
    tokenizer = WordTokenizer().fit(text)
    assert tokenizer.tokens[4] == "\n" and tokenizer.vocab_size == 11
    assert tokenizer.decode(tokenizer.encode(text)) == "the cat\nsat\n\non a mat\n"
    assert streamed(tokenizer, [], tokenizer.encode(text)) == "the cat\nsat\n\non a mat\n"
    old = WordTokenizer(token for token in tokenizer.tokens if token != "\n")  # as it was before
    assert old.decode(old.encode(text)) == "the cat sat on a mat" and old.unknown(text) == []


def test_the_tokens_of_an_older_run_of_words_come_back(tmp_path):
    """Its request does not speak of lines: if its tokens are lost, the same are made again."""
    path = put(tmp_path / "text", "b a\nc\n")
    old, tokens = tokenize([path], tmp_path / "old", requested(path, "word"))
    assert old.tokens[4:] == ["a", "b", "c"] and tokens[:].tolist() == [5, 4, 6]
    new, tokens = tokenize([path], tmp_path / "new", {**requested(path, "word"), "lines": True})
    assert new.decode(tokens[:]) == "b a\nc\n"


# ---------------------------------------------------------------- files of text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le",
                                      "utf-32-be", "latin-1"])  # fmt: skip
def test_texts_in_other_encodings(tmp_path, encoding):
    text = "Où sont les neiges d'antan ?\n" * 10
    path = put(tmp_path / "text", text.encode(encoding))
    name = encoding.replace("-le", "le").replace("-be", "be").replace("latin-1", "latin1")
    with pytest.raises(ValueError, match=f"convert it, for instance with `iconv -f {name} -t utf"):
        text_digest([path])


def test_nul_is_no_text(tmp_path):
    path = put(tmp_path / "text", "To be".encode("utf-16-le"))  # valid UTF-8
    with pytest.raises(ValueError, match=r"is not UTF-8 text .byte 1.*iconv -f utf-16le -t utf-8`"):
        text_digest([path])
    put(path, "\ufeff" + ENGLISH * 9 + "\0 end")
    at = 3 + 9 * len(ENGLISH)
    with pytest.raises(ValueError, match=rf".byte {at}.*for instance with `tr -d '.000'`"):
        text_digest([path])


def test_a_text_is_a_file(tmp_path):
    paths = [os.devnull]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        paths.append(tmp_path / "pipe")
    for path in paths:
        with pytest.raises(ValueError, match="is a pipe or a device: a text is read more"):
            text_files([path])


def test_files_in_folders(tmp_path, monkeypatch):
    for name in ("b.txt", "a/z.txt", "a/b/c.txt", "a.md", ".hidden", ".git/config", "a/.x/y.txt",
                 "a/b/.swp", "가.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / name, "text")
    (tmp_path / "empty").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in text_files([tmp_path])]
    assert found == ["a/b/c.txt", "a/z.txt", "a.md", "b.txt", "가.txt"]
    named = [tmp_path / "b.txt", tmp_path / ".hidden", tmp_path / "a.md"]
    assert text_files(named) == named  # in the order given
    assert text_files(map(str, [tmp_path / "b.txt", tmp_path / "a" / "b"])) == [
        tmp_path / "b.txt", tmp_path / "a" / "b" / "c.txt"]  # fmt: skip
    assert text_files([tmp_path / ".git"]) == [tmp_path / ".git" / "config"]
    monkeypatch.chdir(tmp_path / "a" / ".x")
    assert text_files(["."]) == [Path("y.txt")]
    with pytest.raises(ValueError, match=r"cannot read .*missing: there is no such file or folder"):
        text_files([tmp_path / "a.md", tmp_path / "missing"])
    with pytest.raises(ValueError, match=f"there is no text in {tmp_path / 'empty'}: no file was"):
        text_files(iter([tmp_path / "empty"]))


@given(text=TEXTS, mark=st.booleans(), size=st.integers(3, 40))
def test_pieces_joined_are_the_file(folder, text, mark, size):
    path, told = put(folder / "text", "\ufeff" * mark + text), []
    with pieces_of(size):
        pieces = list(read_pieces(path, told.append))
    assert "".join(pieces) == (text if mark else text.removeprefix("\ufeff"))
    assert sum(told) == path.stat().st_size and all(0 < n <= size for n in told)
    assert all(len(piece) <= 2 * size for piece in pieces)


@given(text=SENTENCES, size=st.integers(40, 80))
def test_pieces_have_the_tokens_of_the_whole(folder, text, size):
    """They end before white space: a word and a gap have 27 bytes at most."""
    path = put(folder / "text", text)
    text = text.removeprefix("\ufeff")
    tokenizers = [WordTokenizer().fit(text), CharTokenizer().fit(text)]
    with pieces_of(size):
        pieces = list(read_pieces(path))
    for one, other in itertools.pairwise(pieces):
        assert not other or (not one[-1].isspace() and other[0].isspace())
    for tokenizer in tokenizers:
        ids = [i for piece in pieces for i in tokenizer.encode(piece)]
        assert ids == tokenizer.encode(text)
    assert WordTokenizer().fit(iter(pieces)).tokens == tokenizers[0].tokens


@given(text=SENTENCES, size=st.integers(40, 80))
def test_pieces_have_the_byte_pairs_of_the_whole(bpe, folder, text, size):
    path = put(folder / "text", text)
    text = text.removeprefix("\ufeff")
    with pieces_of(size):
        ids = [i for piece in read_pieces(path) for i in bpe.encode(piece)]
    assert ids == bpe.encode(text)


@pytest.mark.parametrize("gap", ["\r\n", "\t", "\r", "\n\n", " \n ", "\u3000", "\r\n\r\n"])
def test_no_word_is_cut(tmp_path, gap):
    words = [f"word{i}" for i in range(500)]
    path = put(tmp_path / "text", gap.join(words))
    with pieces_of(101):
        pieces = list(read_pieces(path))
    assert len(pieces) > 20 and [word for piece in pieces for word in piece.split()] == words


@pytest.mark.parametrize("text", [" " * 3000, "\n" * 3000, "x" * 3000, "가" * 1000, "\r\n" * 999])
def test_a_text_with_no_place_to_cut_is_cut_anywhere(tmp_path, text):
    """So that it does not have to fit into memory."""
    with pieces_of(100):
        pieces = list(read_pieces(put(tmp_path / "text", text)))
    assert "".join(pieces) == text and max(map(len, pieces)) <= 200


@given(
    data=st.lists(st.binary(max_size=4) | TEXTS.map(str.encode), max_size=6).map(b"".join),
    size=st.integers(1, 12),
)
def test_the_byte_that_is_not_utf_8_is_named(folder, data, size):
    path = put(folder / "text", data)
    try:
        expected = data.decode()
    except UnicodeDecodeError as error:
        with pieces_of(size), pytest.raises(ValueError) as caught:
            list(read_pieces(path))
        assert f"{path} is not UTF-8 text (byte {error.start}): leave it out" in str(caught.value)
    else:
        assume(size >= 3 or not expected.startswith("\ufeff"))
        with pieces_of(size):
            assert "".join(read_pieces(path)) == expected.removeprefix("\ufeff")


@pytest.mark.parametrize(
    ("data", "byte"),
    [
        ("가나".encode() + b"\xff", 6),
        ("가나".encode()[:-1], 3),
        ("가나".encode()[:-2], 3),
        (b"ab \xf0\x9f\x98", 3),
        (b"ab \xf0\x9f\x98 c", 3),
        (b"\xed\xa0\x80", 0),  # half of a surrogate pair
        (b"abc\xc0\x80", 3),  # too long a form of NUL
        (b"caf\xe9", 3),
        (b"caf\xe9 au lait", 3),
        ("\ufeffcaf\xe9".encode()[:-1], 6),
        ("한".encode("utf-16-le"), 1),
    ],
)
def test_bytes_that_are_cut_are_named_as_well(tmp_path, data, byte):
    path = put(tmp_path / "text", data)
    for size in range(1, 9):
        with pieces_of(size), pytest.raises(ValueError, match=rf"\(byte {byte}\)"):
            list(read_pieces(path))


def test_an_empty_file_has_an_empty_text(tmp_path):
    for data in (b"", "\ufeff".encode()):
        assert "".join(read_pieces(put(tmp_path / "text", data))) == ""


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*missing: No such file"):
        list(read_pieces(tmp_path / "missing"))
    with pytest.raises(ValueError, match="Is a directory"):
        list(read_pieces(tmp_path))
    with pytest.raises(ValueError, match=r"cannot read .*missing: No such file"):
        text_digest([tmp_path / "missing"])


# ---------------------------------------------------------------- what a text is


def test_a_digest_is_that_of_the_texts(tmp_path):
    a, b = put(tmp_path / "a", "하나 둘\n" * 9), put(tmp_path / "b", "three four ")
    whole = text_digest([a, b])
    assert len(whole) == 64 and text_digest(iter([a, b])) == whole
    for size in (3, 7, 50):
        with pieces_of(size):
            assert text_digest([a, b]) == whole
    a.rename(tmp_path / "c")
    assert text_digest([tmp_path / "c", b]) == whole  # names do not count,
    # nor does a byte order mark
    assert text_digest([put(a, "\ufeff" + "하나 둘\n" * 9), b]) == whole
    moved = [put(tmp_path / "d", "하나 둘\n" * 9 + "three "), put(tmp_path / "e", "four ")]
    others = [text_digest([b, a]), text_digest([a]), text_digest([a, b, b]), text_digest(moved)]
    assert len({whole, *others}) == 5


@pytest.mark.parametrize("texts", [[""], [" \n\t\r\n"], ["", "\ufeff", "\u3000"]])
def test_an_empty_text_is_refused(tmp_path, texts):
    files = [put(tmp_path / str(i), text) for i, text in enumerate(texts)]
    with pytest.raises(ValueError, match=r"the text is empty; give one of some thousand") as caught:
        text_digest(files)
    assert all(str(path) in str(caught.value) for path in files)
    assert text_digest([*files, put(tmp_path / "more", " x")])


# ---------------------------------------------------------------- files of tokens


class Watch:
    """A progress that notes its jobs and the bytes done."""

    def __init__(self):
        self.jobs = []

    @contextlib.contextmanager
    def __call__(self, job, total):
        self.jobs.append([job, total, 0])

        def advance(n):
            self.jobs[-1][2] += n

        yield advance


@pytest.fixture
def made(kind, tmp_path):
    """(files, directory, request) of a text with its tokens."""
    files = [put(tmp_path / "one.txt", KOREAN), put(tmp_path / "two.txt", ENGLISH)]
    size = 300 if kind == "bpe" else None
    request = {"text": text_digest(files), "kind": kind, "vocab_size": size}
    tokenize(files, tmp_path / "tokens", request)
    return files, tmp_path / "tokens", request


def state(directory):
    """Contents, and what tells whether they were written again."""
    return {p.name: (p.read_bytes(), p.stat().st_ino, p.stat().st_mtime_ns)
            for p in directory.iterdir() if p.name != ".lock"}  # fmt: skip


def test_the_tokens_of_a_text(kind, tmp_path):
    files, watch = [put(tmp_path / "a", KOREAN), put(tmp_path / "b", ENGLISH)], Watch()
    request = {"text": text_digest(files, watch), "kind": kind, "vocab_size": 400}
    with pieces_of(50):
        tokenizer, tokens = tokenize(files, tmp_path / "x" / "y", request, watch)
    size = sum(path.stat().st_size for path in files)
    names = ["checking the text", "learning the tokens", "encoding"]
    assert watch.jobs == [[name, size, size] for name in names]
    assert tokenizer.kind == kind and type(tokens) is TokenFile
    between = [] if kind != "bpe" else [tokenizer.separator]
    expected = [*tokenizer.encode(KOREAN), *between, *tokenizer.encode(ENGLISH)]
    assert tokens[:].tolist() == expected and len(tokens) == len(expected)
    if kind != "word":
        assert tokenizer.decode(tokens[:]) == KOREAN + END * (kind == "bpe") + ENGLISH
    assert {path.name for path in (tmp_path / "x" / "y").iterdir()} == {
        ".lock", "tokens.bin", "tokens.json", tokenizer.file}  # fmt: skip


def test_what_is_there_is_taken(made):
    files, directory, request = made
    before, watch = state(directory), Watch()
    _, tokens = tokenize(files, directory, request, watch)
    assert state(directory) == before and not watch.jobs
    _, again = open_tokens(directory, request)
    assert state(directory) == before and again[:].tolist() == tokens[:].tolist()
    for path in files:
        path.unlink()
    tokenize(files, directory, request)  # the text is not looked at


@pytest.mark.parametrize("change", ["text", "kind", "vocab_size"])
def test_what_is_there_is_of_another_request(made, change):
    files, directory, request = made
    put(files[0], KOREAN + "또\n")
    other = {"text": text_digest(files), "kind": "word", "vocab_size": 290}
    if request["kind"] == "word":
        other["kind"] = "char"
    request = {**request, change: other[change]}
    if change != "text":
        put(files[0], KOREAN)
    with pytest.raises(ValueError, match="was made of another text, or by another tokenizer"):
        open_tokens(directory, request)
    tokenizer, tokens = tokenize(files, directory, request)
    assert tokenizer.kind == request["kind"]
    assert open_tokens(directory, request)[1][:].tolist() == tokens[:].tolist()
    fresh, new = tokenize(files, directory.parent / "new", request)
    assert new[:].tolist() == tokens[:].tolist() and fresh.vocab_size == tokenizer.vocab_size
    assert {p.name for p in directory.iterdir()} == {p.name for p in new.path.parent.iterdir()}


def test_one_kind_after_another_in_one_directory(tmp_path, bpe):
    """The tokenizer of the one before is not taken for that of the next."""
    path = put(tmp_path / "text", ENGLISH)
    for kind in ("bpe", "char", "bpe", "word", "bpe"):
        tokenizer, _ = tokenize([path], tmp_path / "tokens", requested(path, kind))
        assert tokenizer.kind == load_tokenizer(tmp_path / "tokens").kind == kind


DAMAGES = {
    "truncated": lambda data: data[:-2],
    "one bit flipped": lambda data: data[:50] + bytes([data[50] ^ 4]) + data[51:],
    "emptied": lambda data: b"",
    "zeroed": lambda data: bytes(len(data)),
    "grown": lambda data: data + b"\0\0",
    "deleted": None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["tokens.bin", "tokens.json", "the tokenizer"])
def test_what_is_damaged_is_made_anew(made, name, damage):
    files, directory, request = made
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    path = directory / TOKENIZERS[request["kind"]].file if name[:3] == "the" else directory / name
    if DAMAGES[damage]:
        put(path, DAMAGES[damage](path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(ValueError, match=str(directory)):
        open_tokens(directory, request)
    tokenize(files, directory, request)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("name", ["tokens.bin", "tokens.json", "vocabulary.json"])
def test_no_flipped_bit_of_the_tokens_goes_unseen(tmp_path, name):
    text = put(tmp_path / "text", "가나다라 abc\n")
    request = requested(text)
    tokenize([text], tmp_path, request)
    data = (tmp_path / name).read_bytes()
    with open(tmp_path / name, "r+b", buffering=0) as file:
        for i, bit in itertools.product(range(len(data)), range(8)):
            os.pwrite(file.fileno(), bytes([data[i] ^ 1 << bit]), i)
            with pytest.raises(ValueError):
                open_tokens(tmp_path, request)
                pytest.fail(f"bit {bit} of byte {i}")
            os.pwrite(file.fileno(), data[i : i + 1], i)
    open_tokens(tmp_path, request)


def test_a_crash_at_any_moment_leaves_tokens_or_none(made, monkeypatch):
    """What is half made anew is not taken for whole; what was there stays until it is replaced."""
    files, directory, request = made
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    other = {**request, "vocab_size": 290}

    def crash(*args):
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def crashing(job, total):
        yield crash if job == "encoding" else lambda n: None

    with pytest.raises(KeyboardInterrupt):
        tokenize(files, directory, other, crashing)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    for name in ("write_json", "checksum"):
        with monkeypatch.context() as patch:
            patch.setattr(token_files, name, crash)
            with pytest.raises(KeyboardInterrupt):
                encode_files(files[1:], directory, load_tokenizer(directory), other)
        for wanted in (request, other):
            with pytest.raises(ValueError):
                open_tokens(directory, wanted)
        tokenize(files, directory, request)
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_a_text_that_cannot_be_encoded_leaves_what_was_there(tmp_path):
    text = put(tmp_path / "text", ENGLISH)
    request = requested(text)
    tokenize([text], tmp_path / "tokens", request)
    before = state(tmp_path / "tokens")
    put(text, b"caf\xe9")
    with pytest.raises(ValueError, match="not UTF-8"):
        tokenize([text], tmp_path / "tokens", {**request, "text": "another"})
    with pytest.raises(ValueError, match="3 different characters, more than vocab_size 2"):
        tokenize([put(text, "abc")], tmp_path / "tokens", {**request, "vocab_size": 2})
    with pytest.raises(ValueError, match="never seen: 'X'"):
        encode_files([put(text, "X")], tmp_path / "tokens", CharTokenizer("abc"), request)
    with pytest.raises(ValueError, match="cannot read"):
        tokenize([tmp_path / "missing"], tmp_path / "tokens", {**request, "text": "another"})
    assert state(tmp_path / "tokens") == before


def test_tokens_are_made_by_one_process_at_a_time(tmp_path):
    text = put(tmp_path / "text", ENGLISH)
    with (
        locked(tmp_path / "tokens"),
        pytest.raises(ValueError, match=r"another process is at work in .*tokens"),
    ):
        tokenize([text], tmp_path / "tokens", requested(text))
    put(tmp_path / "tokens" / ".tokens.bin.abc.tmp", "half")
    tokenize([text], tmp_path / "tokens", requested(text))
    assert not list((tmp_path / "tokens").glob(".*.tmp"))


@pytest.mark.parametrize(("size", "dtype"), [(65536, "<u2"), (65537, "<u4")])
def test_two_bytes_for_a_token_or_four(tmp_path, size, dtype):
    tokens = [chr(i) for i in range(size + 2048) if not 0xD800 <= i < 0xE000]
    text = tokens[0] + tokens[1] + tokens[-1] * 2
    encode_files([put(tmp_path / "text", text)], tmp_path, CharTokenizer(tokens), {
        "text": "", "kind": "char", "vocab_size": None})  # fmt: skip
    ids = np.fromfile(tmp_path / "tokens.bin", dtype)
    assert ids.tolist() == [0, 1, size - 1, size - 1]
    assert json.loads((tmp_path / "tokens.json").read_text())["dtype"] == dtype
    tokenizer, mapped = open_tokens(tmp_path, {"kind": "char"})
    assert tokenizer.vocab_size == size and mapped[:].tolist() == ids.tolist()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_files_are_kept_apart(bpe, tmp_path, count):
    texts = ["To be", " or not", "\nto be"][:count]
    files = [put(tmp_path / str(i), text) for i, text in enumerate(texts)]
    encode_files(files, tmp_path, bpe, {"text": "", "kind": "bpe", "vocab_size": 300})
    tokens = open_tokens(tmp_path, {})[1][:]
    assert bpe.decode(tokens) == END.join(texts)
    assert np.count_nonzero(tokens == bpe.separator) == count - 1
    for tokenizer in (CharTokenizer().fit(texts), WordTokenizer().fit(texts)):
        encode_files(files, tmp_path, tokenizer, {"text": "", "kind": "", "vocab_size": None})
        joined = [i for text in texts for i in tokenizer.encode(text)]
        assert open_tokens(tmp_path, {})[1][:].tolist() == joined


def test_byte_pairs_are_learned_from_a_part_of_a_long_text(bpe, tmp_path, monkeypatch):
    monkeypatch.setattr(token_files, "_SAMPLE", 300)
    seen, fit = [], BPETokenizer.fit

    def watched(self, pieces, vocab_size):
        seen.extend(pieces)
        return fit(self, seen, vocab_size)

    monkeypatch.setattr(BPETokenizer, "fit", watched)
    text = "".join(f"word{i} 😀 " for i in range(100))
    path, watch = put(tmp_path / "text", text), Watch()
    with pieces_of(60):
        tokenizer, tokens = tokenize([path], tmp_path / "bpe", requested(path, "bpe", 280), watch)
        tokenize([path], tmp_path / "char", requested(path, "char"))
    assert 100 < sum(len(piece.encode()) for piece in seen) < 400
    assert tokenizer.decode(tokens[:]) == text and tokenizer.vocab_size == 280
    size = path.stat().st_size
    assert watch.jobs == [["learning the tokens", size, size], ["encoding", size, size]]


INTEGERS = st.none() | st.integers(-12, 12)


@given(index=st.slices(20) | st.builds(slice, INTEGERS, INTEGERS) | st.integers(-10, 9)
       | st.lists(st.integers(-10, 9), min_size=1).map(np.array)
       | st.lists(st.booleans(), min_size=10, max_size=10).map(np.array))  # fmt: skip
def test_a_token_file_is_indexed_like_an_array(folder, index):
    ids = np.arange(20) * 7 % 11 + 65000
    tokens = TokenFile(put(folder / "tokens.bin", ids.astype("<u2").tobytes()), "<u2", 0, 20)
    for part, expected in ((tokens, ids), (tokens.part(5, 15), ids[5:15])):
        if isinstance(index, np.ndarray) and index.dtype == bool and len(index) != len(expected):
            continue
        found = part[index]
        assert found.dtype == np.int64 and np.array_equal(found, expected[index])
        if np.ndim(found):
            found[:] = 0  # a copy
    assert np.fromfile(folder / "tokens.bin", "<u2").tolist() == ids.tolist()


def test_parts_of_a_token_file(tmp_path):
    ids = np.arange(100, dtype="<u4") + 70000
    tokens = TokenFile(put(tmp_path / "tokens.bin", ids.tobytes()), "<u4", 0, 100)
    part = tokens.part(10, 90).part(5, 25)
    assert len(tokens) == 100 and len(part) == 20 and len(part.part(3, 3)) == 0
    assert part[:].tolist() == ids[15:35].tolist() and part[-1] == 70034
    windows = np.array([[0], [9]]) + np.arange(3)
    assert part[windows].tolist() == [[70015, 70016, 70017], [70024, 70025, 70026]]
    assert part.part(3, 3)[:].tolist() == []
    for index in (20, -21, np.array([0, 20])):
        with pytest.raises(IndexError):
            part[index]


def test_public_names_have_a_docstring():
    for module in (tokenizers, token_files):
        assert all(getattr(module, n).__doc__ for n in module.__all__ if n != "TOKENIZERS")
