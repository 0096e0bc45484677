"""Tokenizers: text to token ids and back, and text that appears as its tokens are drawn.

A vocabulary is learned from the pieces of a text, so that a long text needs no more memory than a
short one. Next to read: tokens.py, which keeps the tokens of a text in a file.
"""

from __future__ import annotations

import abc
import collections
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..files import read_json, write_atomically

__all__ = [
    "TOKENIZERS", "BPETokenizer", "CharTokenizer", "Tokenizer", "WordTokenizer", "last_boundary",
    "load_tokenizer", "readable", "stream_text",
]  # fmt: skip

PAD, UNK, START, END = range(4)  # the first tokens of WordTokenizer
END_OF_TEXT = "<|endoftext|>"  # of BPETokenizer: between two files, as in GPT-2
_PART = 1 << 16  # characters that bpe encodes at once
_SHARED = 1 << 10  # characters that two such parts share
_RUN = 1000  # characters: where bpe learns, a longer run without a gap is cut
_FEW = 16  # tokens that are decoded again when another one comes

# ---------------------------------------------------------------- tokenizers


class Tokenizer(abc.ABC):
    """What all tokenizers have: a `kind`, a vocabulary, and methods from text to ids and back."""

    kind: str
    file = "vocabulary.json"
    separator: Any = None  # the token between two files, an int or None
    stop: Any = None  # the token that ends a text: an int, a list of them, or None
    begin: Any = ()  # the tokens that stand before a prompt
    unk: Any = None  # the token for what has none of its own, an int or None

    @property
    @abc.abstractmethod
    def vocab_size(self) -> int:
        """The number of tokens."""

    @abc.abstractmethod
    def fit(self, text: str | Iterable[str], vocab_size: int | None = None) -> Tokenizer:
        """Take the vocabulary from a text, or from the pieces of one; returns the tokenizer."""

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of the tokens of a text."""

    @abc.abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids."""

    @abc.abstractmethod
    def unknown(self, text: str) -> list[str]:
        """The parts of a text that have no token."""

    @abc.abstractmethod
    def to_json(self) -> str:
        """The whole tokenizer as a text."""

    def starts(self) -> Sequence[int]:
        """The tokens that a text may begin with."""
        return range(self.vocab_size)

    def known(self) -> Sequence[int]:
        """The ids that stand for a token. A model may have rows for more."""
        return range(self.vocab_size)

    def controls(self) -> dict[str, int]:
        """{token: id} of the tokens that steer, such as <|im_end|>, and stand for no text."""
        return {}

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[list[int]]:
        """The ids of a text that comes in pieces, cut as read_pieces does it: those of the whole.

        They come in lists, so that a long text needs no more memory than a short one.
        """
        return map(self.encode, pieces)

    def certain(self, ids: Sequence[int]) -> str:
        """The text of token ids, without an end that the next token may still change."""
        return self.decode(ids)

    def save(self, directory: Path | str) -> Path:
        """Write the tokenizer to a file in `directory`, which is made, and return its path."""
        path = Path(directory) / self.file
        write_atomically(path, lambda name: Path(name).write_bytes(self.to_json().encode()))
        return path


class _Vocabulary(Tokenizer):
    """A tokenizer that is a list of its tokens."""

    def __init__(self, tokens: Iterable[str] = ()):
        self._set(tokens)

    def _set(self, tokens):
        self.tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        return self

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def to_json(self) -> str:
        content = {"kind": self.kind, "tokens": self.tokens}
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


class WordTokenizer(_Vocabulary):
    """Lower-case words, split at white space; a word that `fit` has not seen becomes <UNK>.

    A line end is a token if `fit` has seen one; it is white space for vocabularies without it.

    >>> tokenizer = WordTokenizer().fit(["the cat sat", "the dog"])
    >>> tokenizer.encode("The cat flew")
    [7, 4, 1]
    >>> tokenizer.decode([7, 5])
    'the dog'
    """

    kind = "word"
    specials = ("<PAD>", "<UNK>", "<START>", "<END>")
    stop = END
    unk = UNK

    def __init__(self, tokens: Iterable[str] = specials):
        super().__init__(tokens)

    def fit(self, text: str | Iterable[str], vocab_size: int | None = None) -> WordTokenizer:
        """Take the words of a text; only the most frequent if there are more than vocab_size."""
        count: collections.Counter[str] = collections.Counter()
        for piece in [text] if isinstance(text, str) else text:
            count.update(_WORD.findall(piece.lower()))
        words = [word for word, _ in count.most_common() if word not in self.specials]
        if vocab_size is not None:
            words = words[: max(0, vocab_size - len(self.specials))]
        return self._set([*self.specials, *sorted(words)])

    def starts(self) -> range:
        """All words, but not <PAD> and such."""
        return range(len(self.specials), self.vocab_size)

    def _words(self, text):
        text = readable(text).lower()
        return _WORD.findall(text) if "\n" in self._ids else text.split()

    def encode(self, text: str) -> list[int]:
        """The ids of the words of a text; capital letters and other white space are lost."""
        return [self._ids.get(word, UNK) for word in self._words(text)]

    def decode(self, ids: Iterable[int]) -> str:
        text = " ".join(self.tokens[i] for i in ids)
        return text.replace(" \n", "\n").replace("\n ", "\n")

    def unknown(self, text: str) -> list[str]:
        """The words of a text that encode to <UNK>."""
        return sorted({word for word in self._words(text) if word not in self._ids})


_WORD = re.compile(r"\n|\S+")


class CharTokenizer(_Vocabulary):
    """One token per character; a character that `fit` has not seen is an error.

    >>> tokenizer = CharTokenizer().fit("hello")
    >>> tokenizer.encode("hole")
    [1, 3, 2, 0]
    """

    kind = "char"

    def fit(self, text: str | Iterable[str], vocab_size: int | None = None) -> CharTokenizer:
        """Take all characters of a text; raises ValueError if there are more than vocab_size."""
        characters: set[str] = set()
        for piece in [text] if isinstance(text, str) else text:
            characters.update(piece)
        if vocab_size is not None and len(characters) > vocab_size:
            raise ValueError(
                f"the text has {len(characters)} different characters, more than vocab_size "
                f"{vocab_size}: leave it out, or take the tokenizer bpe"
            )
        return self._set(sorted(characters))

    def encode(self, text: str) -> list[int]:
        """The ids of the characters of a text; raises ValueError naming unknown ones."""
        text = readable(text)
        try:
            return [self._ids[character] for character in text]
        except KeyError:
            raise ValueError(
                f"characters the model has never seen: {_some(self.unknown(text))}; "
                "leave them out, or train on a text that has them"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.tokens[i] for i in ids)

    def unknown(self, text: str) -> list[str]:
        """The characters of a text that cannot be encoded."""
        return sorted(set(text) - self._ids.keys())


def readable(text: str) -> str:
    """A text as it was typed. Raises ValueError if it has bytes that are not UTF-8.

    Where the locale is not UTF-8, Python hands bytes of the command line over as lone surrogates.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        raise ValueError(
            f"the text {text!r:.60} has a byte that is not UTF-8: leave it out, or type it in UTF-8"
        ) from None


def _some(characters):
    more = f" and {len(characters) - 20} more" if len(characters) > 20 else ""
    return " ".join(map(repr, characters[:20])) + more


class BPETokenizer(Tokenizer):
    """Byte-level byte pair encoding, by the library `tokenizers` (extra `bpe`).

    Every text can be encoded, and decoding gives it back exactly: what has no token of its own is
    spelt in bytes. `fit` makes <|endoftext|> the last token. The bytes and the pattern are GPT-2's.
    Sennrich et al., arXiv:1508.07909.

    `model` may be any other tokenizer of the library. What a file may ask for that cuts, fills up
    or varies the tokens of a text is switched off: truncation, padding, dropout.
    """

    kind = "bpe"
    file = "tokenizer.json"

    def __init__(self, model: Any = None, end: Any = END_OF_TEXT):
        self._model = model
        self.end = end  # what ends a text: a token, its id, several ids, or None
        self.rows: int | None = None  # ids below it have a row in the model; None: all have
        if model is not None:
            model.no_truncation()
            model.no_padding()
            if getattr(model.model, "dropout", None) is not None:
                model.model.dropout = None

    def fit(self, text: str | Iterable[str], vocab_size: int | None = None) -> BPETokenizer:
        """Learn vocab_size tokens (5000 if None; fewer if the text does not hold so many)."""
        library = _tokenizers()
        size = 5000 if vocab_size is None else vocab_size
        if size < 257:
            raise ValueError(f"vocab_size of bpe must be at least 257 (256 bytes, end), got {size}")
        byte_level = library.pre_tokenizers.ByteLevel
        self._model = library.Tokenizer(library.models.BPE())
        self._model.pre_tokenizer = byte_level(add_prefix_space=False)
        self._model.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size - 1, initial_alphabet=byte_level.alphabet(), show_progress=False
        )
        pieces = _without_long_runs([text] if isinstance(text, str) else text)
        self._model.train_from_iterator(pieces, trainer)
        self._model.add_special_tokens([END_OF_TEXT])
        return self

    @property
    def vocab_size(self) -> int:
        return max(self.known()) + 1  # more than the number of tokens, where ids are left out

    def known(self) -> Sequence[int]:
        return sorted(self._model.get_vocab().values())

    def starts(self) -> Sequence[int]:
        """The tokens that a text may begin with: those that have a row in the model."""
        return [i for i in self.known() if self.rows is None or i < self.rows]

    def controls(self) -> dict[str, int]:
        added = self._model.get_added_tokens_decoder()
        return {token.content: i for i, token in added.items() if token.special}

    @property
    def stop(self) -> Any:
        """The id of the token that ends a text: <|endoftext|>, unless a folder names others."""
        return self._model.token_to_id(self.end) if isinstance(self.end, str) else self.end

    @property
    def separator(self) -> int | None:
        """The id of the token between two files: the first that ends a text, or <|endoftext|>."""
        first = self.stop[0] if isinstance(self.stop, list) else self.stop
        return self._model.token_to_id(END_OF_TEXT) if first is None else first

    @property
    def unk(self) -> int | None:
        """The id of the token for what has no token of its own; None where bytes spell all."""
        model = self._model.model
        if not hasattr(model, "unk_token"):  # Unigram shows it only in its file
            return json.loads(self._model.to_str())["model"].get("unk_id")
        unk = model.unk_token and self._model.token_to_id(model.unk_token)
        end = self._model.token_to_id(END_OF_TEXT)  # as in GPT-2, where bytes spell all
        return None if unk == end else unk

    def encode(self, text: str) -> list[int]:
        text = readable(text)
        pieces = (text[i : i + 16 * _PART] for i in range(0, len(text), 16 * _PART))
        return [*itertools.chain.from_iterable(self.encode_pieces(pieces))]

    @property
    def begin(self) -> Any:
        """The tokens that a folder wants before a prompt, such as <s>; `encode` adds none."""
        found = self._model.encode("a")
        return found.ids[: found.special_tokens_mask.index(0)]

    def _with_rows(self, ids):
        """The ids. Raises ValueError if the model has no row for one of them."""
        if self.rows is not None and (last := max(ids, default=0)) >= self.rows:
            raise ValueError(
                f"the text has the token {self._model.id_to_token(last)!r} of id {last}, and the "
                f"model has rows for the ids below {self.rows} only: leave it out of the text"
            )
        return ids

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[list[int]]:
        """The ids of a text that comes in pieces, wherever they are cut: those of the whole.

        Each piece is encoded with the end of the one before, and joined to it within this shared
        text. If they do not agree there, they are encoded together.
        """
        pieces, count = filter(None, pieces), 1
        held, given = "", 0  # the text before, and how many of its tokens came out
        ids: list[int] = []  # its tokens
        while text := "".join(itertools.islice(pieces, count)):
            shared, at = held[-_SHARED:], None
            if len(shared) == _SHARED:
                both, new = self._in_parts(shared), self._in_parts(shared + text)
                at = _seam(ids, both, new)
            if at is None:  # take twice as much each time, so that the work grows in proportion
                count = 2 * count if held else 1
                held += text
                ids = self._in_parts(held)
            else:
                yield ids[given : len(ids) - len(both) + at]
                held, ids, given, count = shared + text, new, at, 1
        yield ids[given:]

    def _in_parts(self, text):
        """The ids of a text, encoded in parts by several threads; as a whole if these disagree."""
        starts = range(0, max(1, len(text) - _SHARED), _PART)
        parts = [text[i : i + _PART + _SHARED] for i in starts]
        ids, *more = self._ids([*parts, *(part[:_SHARED] for part in parts[1:])])
        for part, both in zip(more[: len(parts) - 1], more[len(parts) - 1 :], strict=True):
            at = _seam(ids, both, part)
            if at is None:
                return self._ids([text])[0]
            ids[len(ids) - len(both) + at :] = part[at:]
        return ids

    def _ids(self, texts):
        try:
            found = self._model.encode_batch_fast(texts, add_special_tokens=False)
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"the tokenizer cannot encode the text ({error})") from error
        return [self._with_rows(encoding.ids) for encoding in found]

    def decode(self, ids: Iterable[int]) -> str:
        return self._model.decode([int(i) for i in ids], skip_special_tokens=False)

    def certain(self, ids: Sequence[int]) -> str:
        """The text of token ids, without an end that the next token may still change.

        This is the beginning of a character, for byte pairs; for a vocabulary that spells in tokens
        like <0xE2>, all of these at the end: the library decodes them together.
        """
        end = len(ids)
        while end and _BYTE.fullmatch(self._model.id_to_token(int(ids[end - 1])) or ""):
            end -= 1
        return self.decode(ids[:end]).removesuffix("\ufffd")

    def unknown(self, text: str) -> list[str]:
        """The parts of a text that have no token: none, where every byte has one."""
        found, unk = self._model.encode(readable(text), add_special_tokens=False), self.unk
        places = zip(found.ids, found.offsets, strict=True)
        return sorted({text[a:b] for i, (a, b) in places if i == unk})

    def to_json(self) -> str:
        """The content of tokenizer.json, as the library and Hugging Face's models have it."""
        return self._model.to_str()


TOKENIZERS: dict[str, type[Tokenizer]] = {
    "word": WordTokenizer, "char": CharTokenizer, "bpe": BPETokenizer,
}  # fmt: skip


def _tokenizers():
    try:
        import tokenizers
    except ImportError:
        raise ValueError("bpe needs the library tokenizers: pip install tokenizers") from None
    return tokenizers


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer in tokenizer.json, vocab.json with merges.txt, or our vocabulary.json.

    Raises ValueError if there is none.
    """
    whole, *parts = (directory / n for n in ("tokenizer.json", "vocab.json", "merges.txt"))
    if whole.exists() or parts[0].exists():
        library = _tokenizers()
        tokens = _named_tokens(directory)
        try:
            if whole.exists():
                model = _as_llama(library.Tokenizer.from_str(whole.read_text("utf-8")), directory)
            else:
                vocabulary, merges = library.models.BPE.read_file(*map(str, parts))
                vocabulary = _with_added(vocabulary, tokens)
                model = _byte_level(library.Tokenizer(library.models.BPE(vocabulary, merges)))
            return _with_named(model, tokens)
        except Exception as error:  # the library raises nothing narrower
            path = whole if whole.exists() else parts[0]
            raise ValueError(f"{path} is not a tokenizer ({error})") from error
    path = directory / "vocabulary.json"
    if not path.exists():
        raise ValueError(
            f"there is no tokenizer in {directory}: no tokenizer.json, no vocab.json with "
            "merges.txt, no vocabulary.json"
        )
    content = read_json(path, "kind tokens")
    if content["kind"] not in ("word", "char") or not _are_strings(content["tokens"]):
        raise ValueError(f"{path} is not a vocabulary of words or characters")
    cls = WordTokenizer if content["kind"] == "word" else CharTokenizer
    return cls(content["tokens"])


def _byte_level(model):
    """A tokenizer of the library, set to work on bytes as GPT-2's does."""
    library = _tokenizers()
    model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = library.decoders.ByteLevel()
    if model.token_to_id(END_OF_TEXT) is not None:
        model.add_special_tokens([END_OF_TEXT])
    return model


def _as_llama(model, directory):
    """The tokenizer of tokenizer.json, with the parts that transformers 5 gives a LlamaTokenizer.

    Old files put a space before each part of a text between special tokens; these do it once.
    """
    path, pre = directory / "tokenizer_config.json", _tokenizers().pre_tokenizers
    config = read_json(path) if path.exists() else {}
    its_class, normalizer = config.get("tokenizer_class"), json.loads(model.to_str())["normalizer"]
    if its_class in ("LlamaTokenizer", "LlamaTokenizerFast") and "Prepend" in str(normalizer):
        scheme = "always" if config.get("legacy") else "first"
        scheme = "never" if config.get("add_prefix_space") is False else scheme
        model.normalizer = None
        model.pre_tokenizer = pre.Metaspace("▁", prepend_scheme=scheme, split=False)
    return model


# Files of Hugging Face's beside a vocabulary, which name tokens of it and add others.
_BESIDE = ("added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")


def _named_tokens(directory):
    """{"ids": {token: id}, "options": {token: options}, "end": token} from the files _BESIDE."""
    paths = [directory / name for name in _BESIDE]
    ids, *maps = (read_json(path) if path.exists() else {} for path in paths)
    content = {**maps[0], **maps[1]}
    options: dict[str, Any] = {}
    try:
        for key, value in content.items():
            if key.endswith(("_token", "special_tokens")):
                options |= _tokens_in(value)
        options |= {token: {} for token in ids}  # transformers asks the files in this order, too
        for number, entry in content.get("added_tokens_decoder", {}).items():
            ((token, its),) = _tokens_in(entry).items()
            ids[token], options[token] = int(number), its
        if not all(type(i) is int and i >= 0 for i in ids.values()):
            raise ValueError(f"ids are whole numbers, got {[*ids.values()]}")
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"one of {', '.join(map(str, paths))} is damaged ({error})") from error
    return {"ids": ids, "options": options, "end": [*_tokens_in(content.get("eos_token"))]}


def _tokens_in(value):
    """{token: options} of a token, a list or a mapping of them; a token may be an object."""
    if isinstance(value, str):
        return {value: {"special": True}}
    if isinstance(value, dict) and "content" in value:
        names = ("single_word", "lstrip", "rstrip", "normalized", "special")
        its = {name: value[name] for name in names if name in value}
        return {value["content"]: {"special": True, **its}}
    several = value.values() if isinstance(value, dict) else value if type(value) is list else ()
    return {token: its for one in several for token, its in _tokens_in(one).items()}


def _with_added(vocabulary, tokens):
    """The vocabulary {token: id} of vocab.json with those that the files beside it add."""
    new = {token: i for token, i in tokens["ids"].items() if token not in vocabulary}
    before = {i: token for token, i in vocabulary.items()}
    for token, i in new.items():
        if i in before:
            raise ValueError(f"{token!r} has the id {i} beside it, which {before[i]!r} has in it")
        before[i] = token
    return {**vocabulary, **new}


def _with_named(model, tokens):
    """A BPETokenizer in which each named token is one token wherever it stands in a text."""
    library, ids = _tokenizers(), tokens["ids"]
    done = {token.content for token in model.get_added_tokens_decoder().values()} - ids.keys()
    named = sorted(tokens["options"].items(), key=lambda pair: ids.get(pair[0], math.inf))
    model.add_tokens([library.AddedToken(t, **its) for t, its in named if t not in done])
    ends = [token for token in tokens["end"] if model.token_to_id(token) is not None]
    return BPETokenizer(model, *ends)


def _are_strings(tokens):
    return type(tokens) is list and all(type(token) is str for token in tokens)


def stream_text(
    tokenizer: Tokenizer, before: Iterable[int], tokens: Iterable[int], stop: Sequence[str] = ()
) -> Iterator[str]:
    """Yields the text of tokens that come one by one, in pieces, each as soon as it is certain.

    `before` are the tokens before them. The pieces joined are what `decode` adds to the text
    before. This ends before the first of the `stop` strings; characters that may be the beginning
    of one are held back until more tokens decide.
    """
    ids, waiting = [*before], ""
    shown = tokenizer.decode(ids)  # the text of `ids` that has been looked at
    for token in itertools.chain(tokens, [None]):
        if token is None:
            text = tokenizer.decode(ids)
        else:
            ids.append(int(token))
            text = tokenizer.certain(ids)
        if not shown.startswith(text):
            waiting += text[_equal(shown, text) :]
            shown = text
            # A few tokens are enough, if what they decode to is the end of the text: a space at the
            # beginning may depend on the token before, and a character may have begun there.
            few = tokenizer.certain(ids[-_FEW:])
            if few and text.endswith(few):
                ids, shown = ids[-_FEW:], few
        held = max((_overlap(waiting, one) for one in stop if token is not None), default=0)
        end = min((waiting.find(one) for one in stop if one in waiting), default=None)
        if end is not None and end <= len(waiting) - held:
            yield waiting[:end]
            return
        yield waiting[: len(waiting) - held]
        waiting = waiting[len(waiting) - held :]


def _overlap(text, stop):
    """How many of the last characters of a text may be the first of `stop`."""
    return max((n for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)


# Runs of letters and digits, and of all else: each word of bpe's pattern lies in one of them.
_LONG = re.compile(rf"(?<![^\W_])[^\W_]{{{_RUN},}}|(?<![\W_])[\W_]{{{_RUN},}}")


def _without_long_runs(pieces):
    """Pieces of text, cut within runs longer than _RUN.

    The time to learn byte pairs grows with the square of the longest word.
    """
    for piece in pieces:
        start = 0
        for run in _LONG.finditer(piece):
            for end in range(run.start() + _RUN, run.end(), _RUN):
                yield piece[start:end]
                start = end
        yield piece[start:]


def _seam(before, shared, after):
    """How many tokens of a shared text are to come from the text before it; None if unknown.

    `before` ends and `after` begins with the text of which `shared` has the tokens. What is around
    it may change the first and the last of them. If the middle half is the same in all three,
    nothing farther away changes it, and `before` and `after` can be joined in the middle.
    """
    n = len(shared)
    same = _equal(after, shared), _equal(reversed(before), reversed(shared))
    return n // 2 if n and min(same) >= n - n // 4 else None


def _equal(one, other):
    """How many items at the beginning are equal."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


# White space as in bpe's pattern. For Python alone, \x1c to \x1f are white space, too.
_BOUNDARY = re.compile(r".*\S(?=[^\S\x1c-\x1f])", re.DOTALL)


_BYTE = re.compile("<0x[0-9A-F]{2}>")  # a token that is one byte, in vocabularies of sentencepiece


def last_boundary(text):
    """Where the last run of white space begins; the end of a text that has none."""
    found = _BOUNDARY.match(text)
    return found.end() if found else len(text)
