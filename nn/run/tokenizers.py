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
    "load_tokenizer", "stream_text",
]  # fmt: skip

PAD, UNK, START, END = range(4)  # the first tokens of WordTokenizer
END_OF_TEXT = "<|endoftext|>"  # of BPETokenizer: between two files, as in GPT-2
_PART = 1 << 16  # characters that bpe encodes at once

# ---------------------------------------------------------------- tokenizers


class Tokenizer(abc.ABC):
    """What all tokenizers have: a `kind`, a vocabulary, and methods from text to ids and back."""

    kind: str
    file = "vocabulary.json"
    separator: Any = None  # the token between two files, an int or None
    stop: Any = None  # the token that ends a text: an int, a list of them, or None

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

    def save(self, directory: Path | str) -> Path:
        """Write the tokenizer to a file in `directory`, and return its path."""
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

    >>> tokenizer = WordTokenizer().fit(["the cat sat", "the dog"])
    >>> tokenizer.encode("The cat flew")
    [7, 4, 1]
    >>> tokenizer.decode([7, 5])
    'the dog'
    """

    kind = "word"
    specials = ("<PAD>", "<UNK>", "<START>", "<END>")
    stop = END

    def __init__(self, tokens: Iterable[str] = specials):
        super().__init__(tokens)

    def fit(self, text: str | Iterable[str], vocab_size: int | None = None) -> WordTokenizer:
        """Take the words of a text; only the most frequent if there are more than vocab_size."""
        count: collections.Counter[str] = collections.Counter()
        for piece in [text] if isinstance(text, str) else text:
            count.update(piece.lower().split())
        words = [word for word, _ in count.most_common() if word not in self.specials]
        if vocab_size is not None:
            words = words[: max(0, vocab_size - len(self.specials))]
        return self._set([*self.specials, *sorted(words)])

    def starts(self) -> range:
        """All words, but not <PAD> and such."""
        return range(len(self.specials), self.vocab_size)

    def encode(self, text: str) -> list[int]:
        """The ids of the words of a text; line breaks and capital letters are lost."""
        return [self._ids.get(word, UNK) for word in text.lower().split()]

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self.tokens[i] for i in ids)

    def unknown(self, text: str) -> list[str]:
        """The words of a text that encode to <UNK>."""
        return sorted({word for word in text.lower().split() if word not in self._ids})


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


def _some(characters):
    more = f" and {len(characters) - 20} more" if len(characters) > 20 else ""
    return " ".join(map(repr, characters[:20])) + more


class BPETokenizer(Tokenizer):
    """Byte-level byte pair encoding, by the library `tokenizers` (extra `bpe`).

    Every text can be encoded, and decoding gives it back exactly: what has no token of its own is
    spelt in bytes. `fit` makes <|endoftext|> the last token. The bytes and the pattern are GPT-2's.
    Sennrich et al., arXiv:1508.07909.
    """

    kind = "bpe"
    file = "tokenizer.json"

    def __init__(self, model: Any = None, end: Any = END_OF_TEXT):
        self._model = model
        self.end = end  # what ends a text: a token, its id, several ids, or None
        self.rows: int | None = None  # ids below it have a row in the model; None: all have

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
        self._model.train_from_iterator([text] if isinstance(text, str) else text, trainer)
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

    @property
    def stop(self) -> Any:
        """The id of the token that ends a text: <|endoftext|>, unless a folder names others."""
        return self._model.token_to_id(self.end) if isinstance(self.end, str) else self.end

    @property
    def separator(self) -> int | None:
        """The id of the token between two files: the first that ends a text, or <|endoftext|>."""
        first = self.stop[0] if isinstance(self.stop, list) else self.stop
        return self._model.token_to_id(END_OF_TEXT) if first is None else first

    def encode(self, text: str) -> list[int]:
        parts = [*_parts(text)]  # the library encodes them in parallel
        encoded = self._model.encode_batch_fast(parts, add_special_tokens=False)
        return self._with_rows([*itertools.chain.from_iterable(part.ids for part in encoded)])

    def _with_rows(self, ids):
        """The ids. Raises ValueError if the model has no row for one of them."""
        if self.rows is not None and (last := max(ids, default=0)) >= self.rows:
            raise ValueError(
                f"the text has the token {self._model.id_to_token(last)!r} of id {last}, and the "
                f"model has rows for the ids below {self.rows} only: leave it out of the text"
            )
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        return self._model.decode([int(i) for i in ids], skip_special_tokens=False)

    def unknown(self, text: str) -> list[str]:
        """Nothing: every byte has a token."""
        return []

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
                model = library.Tokenizer.from_str(whole.read_text("utf-8"))
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

    `before` are the tokens before them. A piece never ends within a character (a token of bpe may
    be a part of one). The text ends before the first of the `stop` strings. Characters that may be
    the beginning of one are held back until more tokens decide.
    """
    ids, waiting = [*before], ""
    start = read = len(ids)  # ids[start:read] are decoded again: they decide about spaces
    start = max(0, start - 8)
    for token in tokens:
        ids.append(int(token))
        piece = tokenizer.decode(ids[start:])[len(tokenizer.decode(ids[start:read])) :]
        if tokenizer.kind == "bpe" and piece.endswith("\ufffd") and len(ids) - read < 4:
            continue  # bytes of a character that is not complete
        start, read, waiting = max(0, read - 8), len(ids), waiting + piece
        ends = [waiting.find(text) for text in stop if text in waiting]
        if ends:
            yield waiting[: min(ends)]
            return
        held = max((_overlap(waiting, text) for text in stop), default=0)
        yield waiting[: len(waiting) - held]
        waiting = waiting[len(waiting) - held :]
    yield waiting


def _overlap(text, stop):
    """How many of the last characters of a text may be the first of `stop`."""
    return max((n for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)


# White space as in bpe's pattern. For Python alone, \x1c to \x1f are white space, too.
_BOUNDARY = re.compile(r".*\S(?=[^\S\x1c-\x1f])", re.DOTALL)


def _parts(text):
    """A text cut before white space into parts of _PART characters at most."""
    while len(text) > _PART:
        cut = last_boundary(text[:_PART])
        yield text[:cut]
        text = text[cut:]
    yield text


def last_boundary(text):
    """Where the last run of white space begins; the end of a text that has none."""
    found = _BOUNDARY.match(text)
    return found.end() if found else len(text)
