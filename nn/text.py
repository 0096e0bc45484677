"""Text to numbers: tokenizers, and files of token ids that are made once and mapped into memory.

A text of any size is read in pieces, so that neither learning a vocabulary nor encoding needs
more memory for a longer one.
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import locked, read_json, write_atomically, write_json

__all__ = [
    "TOKENIZERS", "BPETokenizer", "CharTokenizer", "TokenFile", "Tokenizer", "WordTokenizer",
    "digest", "encode_files", "load_tokenizer", "open_tokens", "read_pieces", "text_files",
    "text_of", "tokenize",
]  # fmt: skip

PAD, UNK, START, END = range(4)  # of WordTokenizer
END_OF_TEXT = "<|endoftext|>"  # of BPETokenizer: between two files, as in GPT-2
_PIECE = 1 << 20  # bytes of text read at once
_PART = 1 << 16  # characters that bpe takes at once

# ---------------------------------------------------------------- tokenizers


class Tokenizer:
    """What all tokenizers have: a `kind`, `vocab_size`, and text to ids and back.

    `fit` takes the vocabulary from a text, or from the pieces of one.
    """

    kind: str
    file = "vocabulary.json"
    separator: int | None = None  # the token between two files
    stop: int | None = None  # the token that ends a text

    def __init__(self, tokens: Iterable[str] = ()):
        self.tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def starts(self) -> range:
        """The tokens that a text may begin with."""
        return range(self.vocab_size)

    def to_json(self) -> str:
        """The whole tokenizer as a text."""
        content = {"kind": self.kind, "tokens": self.tokens}
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    def save(self, directory: Path) -> Path:
        """Write the tokenizer to a file in `directory`, and return its path."""
        path = Path(directory) / self.file
        write_atomically(path, lambda name: Path(name).write_bytes(self.to_json().encode()))
        return path


class WordTokenizer(Tokenizer):
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
        """The words of a text, or the most frequent ones if there are more than vocab_size."""
        count = collections.Counter()
        for piece in [text] if isinstance(text, str) else text:
            count.update(piece.lower().split())
        words = [word for word, _ in count.most_common() if word not in self.specials]
        if vocab_size is not None:
            words = words[: max(0, vocab_size - len(self.specials))]
        self.__init__([*self.specials, *sorted(words)])
        return self

    def starts(self) -> range:
        return range(len(self.specials), self.vocab_size)

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(word, UNK) for word in text.lower().split()]

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self.tokens[i] for i in ids)

    def unknown(self, text: str) -> list[str]:
        """The words of a text that encode to <UNK>."""
        return sorted({word for word in text.lower().split() if word not in self._ids})


class CharTokenizer(Tokenizer):
    """One token per character; one that `fit` has not seen is an error.

    >>> tokenizer = CharTokenizer().fit("hello")
    >>> tokenizer.encode("hole")
    [1, 3, 2, 0]
    """

    kind = "char"

    def fit(self, text: str | Iterable[str], vocab_size: int | None = None) -> CharTokenizer:
        """All characters of a text; Raises ValueError if there are more than vocab_size."""
        characters = set()
        for piece in [text] if isinstance(text, str) else text:
            characters.update(piece)
        if vocab_size is not None and len(characters) > vocab_size:
            raise ValueError(
                f"the text has {len(characters)} different characters, more than vocab_size "
                f"{vocab_size}: leave it out, or take the tokenizer bpe"
            )
        self.__init__(sorted(characters))
        return self

    def encode(self, text: str) -> list[int]:
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

    Any text comes back exactly: what has no token of its own is spelt in bytes. The last token
    is <|endoftext|>. Sennrich et al., arXiv:1508.07909; the bytes and the pattern are GPT-2's.
    """

    kind = "bpe"
    file = "tokenizer.json"

    def __init__(self, model: Any = None):
        self._model = model

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
        return self._model.get_vocab_size()

    @property
    def stop(self) -> int | None:
        return self._model.token_to_id(END_OF_TEXT)

    separator = stop

    def encode(self, text: str) -> list[int]:
        parts = [*_parts(text)]  # which the library encodes side by side
        encoded = self._model.encode_batch_fast(parts, add_special_tokens=False)
        return [*itertools.chain.from_iterable(part.ids for part in encoded)]

    def decode(self, ids: Iterable[int]) -> str:
        return self._model.decode([int(i) for i in ids], skip_special_tokens=False)

    def unknown(self, text: str) -> list[str]:
        """Nothing: every byte has a token."""
        return []

    def to_json(self) -> str:
        """The text of tokenizer.json, as the library and Hugging Face's models have it."""
        return self._model.to_str()


TOKENIZERS = {cls.kind: cls for cls in (WordTokenizer, CharTokenizer, BPETokenizer)}


def _tokenizers():
    try:
        import tokenizers
    except ImportError:
        raise ValueError("bpe needs the library tokenizers: pip install tokenizers") from None
    return tokenizers


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer in a directory: ours, tokenizer.json, or vocab.json with merges.txt.

    Raises ValueError if there is none.
    """
    whole, *parts = (directory / n for n in ("tokenizer.json", "vocab.json", "merges.txt"))
    if whole.exists() or parts[0].exists():
        library = _tokenizers()
        try:
            if whole.exists():
                return BPETokenizer(library.Tokenizer.from_str(whole.read_text("utf-8")))
            model = library.Tokenizer(library.models.BPE.from_file(*map(str, parts)))
        except Exception as error:  # the library raises nothing narrower
            path = whole if whole.exists() else parts[0]
            raise ValueError(f"{path} is not a tokenizer ({error})") from error
        return BPETokenizer(_byte_level(model))
    path = directory / "vocabulary.json"
    if not path.exists():
        raise ValueError(
            f"there is no tokenizer in {directory}: no tokenizer.json, no vocab.json with "
            "merges.txt, no vocabulary.json"
        )
    content = read_json(path, "kind tokens")
    if content["kind"] not in ("word", "char") or not _are_strings(content["tokens"]):
        raise ValueError(f"{path} is not a vocabulary of words or characters")
    return TOKENIZERS[content["kind"]](content["tokens"])


def _byte_level(model):
    """A model of the library, fed with bytes as GPT-2's is."""
    library = _tokenizers()
    model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = library.decoders.ByteLevel()
    if model.token_to_id(END_OF_TEXT) is not None:
        model.add_special_tokens([END_OF_TEXT])
    return model


def _are_strings(tokens):
    return type(tokens) is list and all(type(token) is str for token in tokens)


def text_of(
    tokenizer: Tokenizer, before: Iterable[int], tokens: Iterable[int], stop: Sequence[str] = ()
) -> Iterator[str]:
    """The text of tokens that come one by one, in pieces, as soon as it is certain.

    `before` are the tokens they follow. Never half a character (a token of bpe may be a part of
    one), and nothing from the first of the `stop` strings on: where one may have begun, the text
    waits.
    """
    ids, waiting = [*before], ""
    start = read = len(ids)  # ids[start:read] are there for what they do to the next: spaces
    start = max(0, start - 8)
    for token in tokens:
        ids.append(int(token))
        piece = tokenizer.decode(ids[start:])[len(tokenizer.decode(ids[start:read])) :]
        if tokenizer.kind == "bpe" and piece.endswith("\ufffd") and len(ids) - read < 4:
            continue  # bytes of a character that is not all there
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


# ---------------------------------------------------------------- files of text


def _ignore(done):
    pass


def text_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files named, and those in the folders named, at any depth, in order of their names.

    Hidden files are left out, and folders that hold a run. Raises ValueError if a path does not
    exist or nothing is found.
    """
    paths, files = list(map(Path, paths)), []
    for path in paths:
        if path.is_dir():
            found = (p for p in path.rglob("*") if p.is_file())
            seen = (p for p in found if not any(s[0] == "." for s in p.relative_to(path).parts))
            runs = {p.parent for p in path.rglob("state.safetensors")}
            runs |= {p.parent for p in path.rglob("tokens.bin")}
            files += sorted(p for p in seen if runs.isdisjoint(p.parents))
        elif path.exists():
            files.append(path)
        else:
            raise ValueError(f"cannot read {path}: there is no such file or folder")
    if not files:
        raise ValueError(f"there is no text in {', '.join(map(str, paths))}: no file was found")
    return files


def read_pieces(path: Path, advance: Callable[[int], object] = _ignore) -> Iterator[str]:
    """A UTF-8 file in pieces that end before white space; `advance` is told the bytes read.

    No tokenizer here joins what stands before white space with what follows, so that the pieces
    have the tokens of the whole; only where there is no such place in all that is read at once, a
    piece ends anywhere. Raises ValueError with the offset of a byte that is not UTF-8.
    """
    decoder, offset, rest = codecs.getincrementaldecoder("utf-8")(), 0, ""
    try:
        with open(path, "rb") as file:
            while data := file.read(_PIECE):
                waiting = len(decoder.getstate()[0])
                text = decoder.decode(data)
                text = rest + (text if offset else text.removeprefix("\ufeff"))  # a byte order mark
                offset += len(data)
                advance(len(data))
                cut = _last_boundary(text)
                yield text[:cut]
                rest = text[cut:]
            waiting = len(decoder.getstate()[0])
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        with open(path, "rb") as file:
            kind = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "latin1"
        raise ValueError(
            f"{path} is not UTF-8 text (byte {offset - waiting + error.start}): leave it out, or, "
            f"if it is a text, convert it, for instance with `iconv -f {kind} -t utf-8`"
        ) from error
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    yield rest


# White space of the pattern of bpe: what Python counts besides, it takes for punctuation.
_BOUNDARY = re.compile(r".*\S(?=[^\S\x1c-\x1f])", re.DOTALL)


def _parts(text):
    """A text cut before white space into parts of _PART characters at most."""
    while len(text) > _PART:
        cut = _last_boundary(text[:_PART])
        yield text[:cut]
        text = text[cut:]
    yield text


def _last_boundary(text):
    """Where the last run of white space begins; the end of a text that has none."""
    found = _BOUNDARY.match(text)
    return found.end() if found else len(text)


# ---------------------------------------------------------------- files of tokens

_SAMPLE = 10_000_000  # bytes of text that bpe learns from at most: its memory grows with them


class TokenFile:
    """Token ids (N,) in a file, of which only what is asked for is in memory.

    Indexed like an array, by slices and arrays of integers. The file is mapped for the moment of
    a read: pages that stay mapped count as memory of the process.
    """

    def __init__(self, path: Path, dtype: str, start: int, stop: int):
        self.path, self.dtype, self.start, self.stop = path, dtype, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: Any) -> np.ndarray:
        mapped = np.memmap(self.path, self.dtype, "r")
        return mapped[self.start : self.stop][index].astype(np.int64)

    def part(self, start: int, stop: int) -> TokenFile:
        """The tokens from start to stop, still on disk."""
        return TokenFile(self.path, self.dtype, self.start + start, self.start + stop)


def _no_progress(job, total):
    return contextlib.nullcontext(_ignore)


def digest(files: Iterable[Path], progress: Callable[[str, int], Any] = _no_progress) -> str:
    """A SHA-256 of a text. Raises ValueError if it is not UTF-8, or has nothing but white space."""
    files, total, blank = list(files), hashlib.sha256(), True
    with progress("checking the text", size_of(files)) as advance:
        for path in files:
            one = hashlib.sha256()
            for piece in read_pieces(path, advance):
                one.update(piece.encode())
                blank = blank and not piece.strip()
            total.update(one.digest())
    if blank:
        raise ValueError(
            f"{', '.join(map(str, files))}: the text is empty; give one of some thousand characters"
        )
    return total.hexdigest()


def size_of(files: Iterable[Path]) -> int:
    """Bytes in files. Raises ValueError if there is one that cannot be read."""
    try:
        return sum(path.stat().st_size for path in files)
    except OSError as error:
        raise ValueError(f"cannot read {error.filename}: {error.strerror}") from error


def tokenize(
    files: Sequence[Path],
    directory: Path,
    request: Mapping[str, Any],
    progress: Callable[[str, int], Any] = _no_progress,
    tokenizer: Tokenizer | None = None,
) -> tuple[Tokenizer, TokenFile]:
    """The tokens of a text, in a file in `directory`, with their tokenizer beside it.

    `request` has the digest of the "text", the "kind" of tokenizer and its "vocab_size" or None;
    what is there already is taken if it was made of the same. A new tokenizer is fitted to the
    text unless there is one. `progress(job, total)` is a context that gives a function to call
    with the number of bytes done.
    """
    with locked(directory):
        with contextlib.suppress(ValueError):
            return open_tokens(directory, request)
        total = size_of(files)
        if tokenizer is None:
            tokenizer = TOKENIZERS[request["kind"]]()
            with progress("learning the tokens", total) as advance:
                pieces = (piece for path in files for piece in read_pieces(path, advance))
                step = 1 + total // _SAMPLE if tokenizer.kind == "bpe" else 1
                tokenizer.fit(itertools.islice(pieces, 0, None, step), request["vocab_size"])
        with progress("encoding", total) as advance:
            encode_files(files, directory, tokenizer, request, advance)
        return open_tokens(directory, request)


def encode_files(
    files: Iterable[Path],
    directory: Path,
    tokenizer: Tokenizer,
    request: Mapping[str, Any],
    advance: Callable[[int], object] = _ignore,
) -> None:
    """Write tokens.bin (uint16 or uint32), the tokenizer, and tokens.json, which seals both."""
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    checksum = 0

    def write(name):
        nonlocal checksum
        with open(name, "wb") as out:
            for ids in _ids_of_files(files, tokenizer, advance):
                data = np.array(ids, dtype)
                out.write(data)
                checksum = zlib.crc32(data, checksum)

    write_atomically(directory / "tokens.bin", write)
    seals = {"tokens": checksum, "tokenizer": _checksum(tokenizer.save(directory))}
    for other in {cls.file for cls in TOKENIZERS.values()} - {tokenizer.file}:
        (directory / other).unlink(missing_ok=True)  # lest it is taken for the tokenizer
    write_json(directory / "tokens.json", {**request, "dtype": dtype.str, "checksums": seals})


def _ids_of_files(files, tokenizer, advance):
    for number, path in enumerate(files):
        if number and tokenizer.separator is not None:
            yield [tokenizer.separator]
        for piece in read_pieces(path, advance):
            yield tokenizer.encode(piece)


def open_tokens(directory: Path, request: Mapping[str, Any]) -> tuple[Tokenizer, TokenFile]:
    """What is in a directory if it is as requested; ValueError if it is not, or is damaged."""
    path = directory / "tokens.bin"
    made = read_json(directory / "tokens.json", "text kind vocab_size dtype checksums")
    if any(made.get(name) != value for name, value in request.items()):
        raise ValueError(f"{path} was made of another text, or by another tokenizer")
    tokenizer = load_tokenizer(directory)
    seals = {"tokens": _checksum(path), "tokenizer": _checksum(directory / tokenizer.file)}
    if made["checksums"] != seals or made["dtype"] not in ("<u2", "<u4"):
        raise ValueError(f"{path}, or what is beside it, is damaged")
    count = path.stat().st_size // np.dtype(made["dtype"]).itemsize
    return tokenizer, TokenFile(path, made["dtype"], 0, count)


def _checksum(path):
    checksum = 0
    try:
        with open(path, "rb") as file:
            while data := file.read(1 << 20):
                checksum = zlib.crc32(data, checksum)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    return checksum
