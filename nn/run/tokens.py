"""Texts as files of token ids. Each file is made once and mapped into memory.

A text of any size is read in pieces: encoding a long one needs no more memory than a short one.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import checksum, locked, read_json, write_atomically, write_json
from .tokenizers import TOKENIZERS, Tokenizer, last_boundary, load_tokenizer

__all__ = [
    "TokenFile", "encode_files", "open_tokens", "random_batch", "read_pieces", "split_tokens",
    "text_digest", "text_files", "tokenize",
]  # fmt: skip

_PIECE = 1 << 20  # bytes of text read at once

# ---------------------------------------------------------------- files of text


def _ignore(done):
    pass


def text_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files named, and those in the folders named, at any depth, in order of their names.

    Hidden files and folders that hold a run are left out. Raises ValueError if a path does not
    exist, or is a pipe or a device, or nothing is found.
    """
    files: list[Path] = []
    for path in (paths := list(map(Path, paths))):
        if path.is_dir():
            found = (p for p in path.rglob("*") if p.is_file())
            seen = (p for p in found if not any(s[0] == "." for s in p.relative_to(path).parts))
            runs = {p.parent for p in path.rglob("state.safetensors")}
            runs |= {p.parent for p in path.rglob("tokens.bin")}
            files += sorted(p for p in seen if runs.isdisjoint(p.parents))
        elif path.is_file():
            files.append(path)
        elif path.exists():
            raise ValueError(
                f"{path} is a pipe or a device: a text is read more than once and must be a file; "
                "write it to a file first"
            )
        else:
            raise ValueError(f"cannot read {path}: there is no such file or folder")
    if not files:
        raise ValueError(f"there is no text in {', '.join(map(str, paths))}: no file was found")
    return files


def read_pieces(
    path: Path, advance: Callable[[int], object] = _ignore, *, strict: bool = False
) -> Iterator[str]:
    """A UTF-8 file in pieces that end before white space; calls advance(bytes read).

    So no word is cut. A piece without white space may end anywhere. Raises ValueError with the
    offset of a byte that is not UTF-8. `strict`: nor may there be a NUL, which no text has; UTF-16
    of English is valid UTF-8 full of them.
    """
    decoder, offset, rest = codecs.getincrementaldecoder("utf-8")(), 0, ""
    try:
        with open(path, "rb") as file:
            file.seek(0)  # /dev/stdin may go on where the last reader stopped
            while data := file.read(_PIECE):
                waiting = len(decoder.getstate()[0])
                text = decoder.decode(data)
                if strict and b"\0" in data:
                    raise _not_a_text(path, offset + data.index(b"\0"), r"tr -d '\000'")
                text = rest + (text if offset else text.removeprefix("\ufeff"))  # a byte order mark
                offset += len(data)
                advance(len(data))
                cut = last_boundary(text)
                yield text[:cut]
                rest = text[cut:]
            waiting = len(decoder.getstate()[0])
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        at = offset - waiting + error.start
        raise _not_a_text(path, at, "iconv -f latin1 -t utf-8") from error
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    yield rest


def _not_a_text(path, offset, otherwise):
    """The error for a byte that no UTF-8 text has, with a command that makes it a text."""
    with open(path, "rb") as file:
        kind = _wide_encoding(file.read(4096))
    how = f"iconv -f {kind} -t utf-8" if kind else otherwise
    return ValueError(
        f"{path} is not UTF-8 text (byte {offset}): leave it out, or, if it is a text, convert it, "
        f"for instance with `{how}`"
    )


def _wide_encoding(data):
    """The encoding of the first bytes of a text, if it is one of two or four bytes a character."""
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    zeros = [data[i::4].count(0) for i in range(4)]
    for kind, pair in (("utf-32le", zeros[2:]), ("utf-32be", zeros[:2])):
        if min(pair) > 0.9 * (len(data) // 4):
            return kind
    if sum(zeros) > len(data) / 10:  # there are spaces and line ends in all scripts
        return "utf-16le" if zeros[1] + zeros[3] >= zeros[0] + zeros[2] else "utf-16be"
    return None


# ---------------------------------------------------------------- files of tokens

_SAMPLE = 10_000_000  # bpe learns from at most so many bytes of text: its memory grows with them


class TokenFile:
    """Token ids (N,) in a file, read when they are asked for.

    Indexed like an array, by slices and arrays of integers. The file is mapped into memory only
    while it is read: pages that stay mapped would count as memory of the process.
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


def split_tokens(tokens: Any) -> tuple[Any, Any]:
    """The first nine tenths of the tokens, for training, and the last tenth, for validation."""
    cut = len(tokens) * 9 // 10
    if isinstance(tokens, TokenFile):
        return tokens.part(0, cut), tokens.part(cut, len(tokens))
    return tokens[:cut], tokens[cut:]


def random_batch(
    tokens: Any, T: int, B: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """B random windows (B, T) of the tokens of a text, and the same windows one token later."""
    windows = tokens[rng.integers(len(tokens) - T, size=(B, 1)) + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]


def _no_progress(job, total):
    return contextlib.nullcontext(_ignore)


def text_digest(files: Iterable[Path], progress: Callable[[str, int], Any] = _no_progress) -> str:
    """A SHA-256 of a text. Raises ValueError if it is not UTF-8, or has nothing but white space."""
    files, total, blank = list(files), hashlib.sha256(), True
    with progress("checking the text", size_of(files)) as advance:
        for path in files:
            digest = hashlib.sha256()
            for piece in read_pieces(path, advance, strict=True):
                digest.update(piece.encode())
                blank = blank and not piece.strip()
            total.update(digest.digest())
    if blank:
        raise ValueError(
            f"{', '.join(map(str, files))}: the text is empty; give one of some thousand characters"
        )
    return total.hexdigest()


def size_of(files: Iterable[Path]) -> int:
    """The bytes in all files together. Raises ValueError if one cannot be read."""
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
    for words "lines", if line ends are tokens, which they were not at first. Tokens that are there
    already are used if they were made for an equal request. Without a
    `tokenizer`, a new one is fitted to the text. `progress(job, total)` is a context manager; its
    value is a function, which is called with the number of bytes done.
    """
    with locked(directory):
        with contextlib.suppress(ValueError):
            return open_tokens(directory, request)
        total = size_of(files)
        if tokenizer is None:
            tokenizer = TOKENIZERS[request["kind"]]()
            with progress("learning the tokens", total) as advance:
                pieces = (piece for path in files for piece in read_pieces(path, advance))
                if tokenizer.kind == "word" and not request.get("lines"):
                    pieces = (piece.replace("\n", " ") for piece in pieces)
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
    """Write tokens.bin (uint16 or uint32), the tokenizer, and tokens.json with their checksums."""
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    crc = 0

    def write(name):
        nonlocal crc
        with open(name, "wb") as out:
            for ids in _ids_of_files(files, tokenizer, advance):
                data = np.array(ids, dtype)
                out.write(data.data)
                crc = zlib.crc32(data.data, crc)

    write_atomically(directory / "tokens.bin", write)
    seals = {"tokens": crc, "tokenizer": checksum(tokenizer.save(directory))}
    for other in {cls.file for cls in TOKENIZERS.values()} - {tokenizer.file}:
        (directory / other).unlink(missing_ok=True)  # an old one would be read as the tokenizer
    write_json(directory / "tokens.json", {**request, "dtype": dtype.str, "checksums": seals})


def _ids_of_files(files, tokenizer, advance):
    for number, path in enumerate(files):
        if number and tokenizer.separator is not None:
            yield [tokenizer.separator]
        yield from tokenizer.encode_pieces(read_pieces(path, advance))


def open_tokens(directory: Path, request: Mapping[str, Any]) -> tuple[Tokenizer, TokenFile]:
    """The tokenizer and tokens of a directory; ValueError if damaged, or not for this request."""
    path = directory / "tokens.bin"
    made = read_json(directory / "tokens.json", "text kind vocab_size dtype checksums")
    if any(made.get(name) != value for name, value in request.items()):
        raise ValueError(f"{path} was made of another text, or by another tokenizer")
    tokenizer = load_tokenizer(directory)
    seals = {"tokens": checksum(path), "tokenizer": checksum(directory / tokenizer.file)}
    if made["checksums"] != seals or made["dtype"] not in ("<u2", "<u4"):
        raise ValueError(f"{path}, or what is beside it, is damaged")
    count = path.stat().st_size // np.dtype(made["dtype"]).itemsize
    return tokenizer, TokenFile(path, made["dtype"], 0, count)
