"""What an audio file is, by its bytes: what telephones play is told with its length, everything else is refused in words."""

import io
import struct
import wave
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.lib.audio import A_LAW, EXTENSIBLE, MU_LAW, PCM, SILENCE, UnreadableAudio, mu_law_wav, read_audio

TONE = b"\x10\x20" * 8000


def wav(form: int = PCM, bits: int = 16, rate: int = 8000, channels: int = 1, before: bytes = b"") -> bytes:
    size = bits // 8 * channels
    parts = before + b"fmt " + struct.pack("<IHHIIHH", 16, form, channels, rate, rate * size, size, bits)
    parts += b"data" + struct.pack("<I", len(TONE)) + TONE
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts


def frames(count: int, head: bytes = b"\xff\xfb\x90\xc4", size: int = 417) -> bytes:
    """Of MPEG 1, layer III, 128 kbit/s at 44.1 kHz, unless another head is given."""
    return (head + bytes(size - len(head))) * count


MP3 = frames(100)
SECONDS = 100 * 1152 / 44_100
ID3 = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + b"\xff\xfb\x90\xc4" * 64


def test_a_wav_as_python_writes_it_is_read() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((2, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(4 * 24_000))
    read = read_audio(file.getvalue())
    assert (read.kind, read.seconds) == ("wav", 1.5)


@pytest.mark.parametrize(
    ("data", "kind", "seconds"),
    [
        (wav(), "wav", 1),
        (wav(before=b"LIST" + struct.pack("<I", 3) + b"abc\0"), "wav", 1),
        (wav(MU_LAW, 8), "wav", 2),
        (wav(A_LAW, 8, channels=2), "wav", 1),
        (SILENCE, "wav", 0.5),
        (MP3, "mp3", SECONDS),
        (ID3 + MP3, "mp3", SECONDS),
        (ID3 + bytes(2000) + MP3 + b"TAG" + bytes(125), "mp3", SECONDS),
        (frames(50) + b"junk of an editor" + frames(50), "mp3", SECONDS),
        (frames(50) + frames(50, b"\xff\xfb\xe0\xc4", 1044), "mp3", SECONDS),
        (MP3 + MP3[:100], "mp3", SECONDS),
        (frames(100, b"\xff\xf3\x40\xc4", 104), "mp3", 100 * 576 / 22_050),
        (frames(100, b"\xff\xe3\x18\xc4", 72), "mp3", 100 * 576 / 8000),
    ],
)
def test_what_telephones_play_is_told_with_its_length(data: bytes, kind: str, seconds: float) -> None:
    read = read_audio(data)
    assert read.kind == kind
    assert read.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "neither an MP3 nor a WAV"),
        (b"<html><script>alert(1)</script>" + MP3, "neither"),
        (b"RIFF\x04\0\0\0AVI " + MP3, "neither"),
        (b"OggS" + bytes(100), "neither"),
        (wav()[:-100], "cut off"),
        (wav(bits=24), "save it as PCM with 16 bits"),
        (wav(3, 32), "save it as PCM"),
        (wav(EXTENSIBLE), "save it as PCM"),
        (wav(channels=6), "6 channels"),
        (wav(rate=192_000), "192000 Hz"),
        (wav(rate=0), "0 Hz"),
        (b"RIFF\0\0\0\0WAVE", "holds no sound"),
        (b"RIFF\0\0\0\0WAVEdata\x02\0\0\0ab", "does not say how"),
        (b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0ab", "does not say how"),
        (mu_law_wav(b""), "nothing to hear"),
        (MP3[:900], "damaged"),
        (ID3, "damaged"),
        (b"ID3" + b"\xff" * 40, "damaged"),
        (ID3 + b"PK\x03\x04" + bytes(9000), "damaged"),
        (frames(10) + bytes(200_000), "damaged"),
    ],
)
def test_what_they_do_not_play_is_refused_with_what_to_do(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableAudio, match=said):
        read_audio(data)


PIECES = [
    wav()[:44],
    TONE[:50],
    MP3[:900],
    ID3[:60],
    b"RIFF",
    b"WAVE",
    b"fmt ",
    b"data",
    b"TAG",
    b"\xff\xfb\x90",
    bytes(7),
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12).map(b"".join))
def test_never_does_a_file_raise_anything_else_or_last_longer_than_its_bytes(data: bytes) -> None:
    with suppress(UnreadableAudio):
        assert 0 < read_audio(data).seconds <= len(data)
