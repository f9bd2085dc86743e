"""What an audio file is, by its bytes alone: WAV and MP3, as carriers play them. Nothing of a file is decoded; what is not wholly as it
should be is refused in words for the person who brought it.

An own reader, because two lists of numbers are all there is to it: mutagen, which the field uses, is under the GPL and reads tags too,
packed ones among them, which nobody wants here."""

import struct
from dataclasses import dataclass

PCM, A_LAW, MU_LAW, EXTENSIBLE = 1, 6, 7, 0xFFFE
LEAST_RATE, MOST_RATE = 8000, 48_000
LEAST_SECONDS = 0.1
WHAT_IS_TAKEN = "Bring an MP3, or a WAV with 16 bits."


CONTENT_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}


class UnreadableAudio(ValueError):
    """The message says what is wrong, for the person who brought the file."""


@dataclass(frozen=True)
class Audio:
    kind: str
    """Of CONTENT_TYPES."""
    seconds: float


def read_audio(data: bytes) -> Audio:
    """
    Raises:
        UnreadableAudio: it is no sound that a carrier plays.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        audio = Audio("wav", _seconds_of_wav(data))
    elif data[:3] == b"ID3" or _Frame.read(data, 0):
        audio = Audio("mp3", _seconds_of_mp3(data))
    else:
        raise UnreadableAudio(f"This is neither an MP3 nor a WAV, whatever its name says. {WHAT_IS_TAKEN}")
    if audio.seconds < LEAST_SECONDS:
        raise UnreadableAudio("There is nothing to hear in this file.")
    return audio


def _seconds_of_wav(data: bytes) -> float:
    """http://soundfile.sapp.org/doc/WaveFormat/"""
    at, bytes_a_second = 12, 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if size > len(data) - at:
            raise UnreadableAudio("This WAV is cut off: it ends before its sound does.")
        if name == b"fmt ":
            bytes_a_second = _bytes_a_second(data[at : at + size])
        elif name == b"data":
            if not bytes_a_second:
                raise UnreadableAudio("This WAV does not say how its sound is written.")
            return float(size / bytes_a_second)
        at += size + size % 2
    raise UnreadableAudio("This WAV holds no sound.")


def _bytes_a_second(described: bytes) -> int:
    """Of the sound that the part `fmt ` of a WAV describes."""
    if len(described) < 16:
        raise UnreadableAudio("This WAV does not say how its sound is written.")
    form, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", described)
    if form == EXTENSIBLE and len(described) >= 26:
        (form,) = struct.unpack_from("<H", described, 24)
    if (form, bits) not in ((PCM, 8), (PCM, 16), (A_LAW, 8), (MU_LAW, 8)):
        raise UnreadableAudio("This WAV has another form than telephones play: save it as PCM with 16 bits.")
    if channels not in (1, 2) or not LEAST_RATE <= rate <= MOST_RATE:
        raise UnreadableAudio(f"This WAV has {channels} channels at {rate} Hz: save it in mono, with 8000 to 48000 Hz.")
    return int(rate * channels * bits // 8)


BITRATES = {  # kbit/s by index, of layer III
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By whether it is MPEG 1; 2 and 2.5 have the others."""
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}
"""Samples a second by index, by the version's number in a frame: MPEG 1, 2, 2.5."""
LEAST_FRAMES = 3
MOST_PADDING = 4096
"""Bytes between tags and frames, and of what stands between two frames, as recorders and editors leave it."""
MOST_REST = 64 * 1024
"""Bytes behind the last frame that are no tag, as where a file is cut off."""
TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")


@dataclass(frozen=True)
class _Frame:
    size: int
    samples: int
    rate: int

    @classmethod
    def read(cls, data: bytes, at: int) -> "_Frame | None":
        """The frame of layer III that begins here; None: none does."""
        if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
            return None
        version, bitrate, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 4, data[at + 2] >> 2 & 3
        if version == 1 or bitrate in (0, 15) or rate == 3:
            return None
        is_first, hertz = version == 3, RATES[version][rate]
        samples = 1152 if is_first else 576
        size = samples // 8 * 1000 * BITRATES[is_first][bitrate] // hertz + (data[at + 2] >> 1 & 1)
        return cls(size, samples, hertz)


def _seconds_of_mp3(data: bytes) -> float:
    """By all frames of the file, so that a variable bitrate is told rightly too."""
    start = _next_frame(data, _behind_tags(data))
    at, frames, samples, rate, heard = start, 0, 0, 0, 0
    while at < len(data):
        frame = _Frame.read(data, at)
        if frame is None or (rate and frame.rate != rate):
            following = len(data) if data.startswith(TRAILERS, at) else _next_frame(data, at + 1)
            if following == len(data):
                break
            at = following
            continue
        if at + frame.size > len(data):  # the last one is cut off, as at the end of a stream
            break
        frames, samples, rate = frames + 1, samples + frame.samples, frame.rate
        heard += frame.size
        at += frame.size
    is_whole = len(data) - at <= MOST_REST or data.startswith(TRAILERS, at)
    if frames < LEAST_FRAMES or heard < (at - start) * 0.9 or not is_whole:
        raise UnreadableAudio(f"This MP3 is damaged, or no MP3. {WHAT_IS_TAKEN}")
    return samples / rate


def _behind_tags(data: bytes) -> int:
    """Where the first byte behind ID3 tags is (https://id3.org/id3v2.4.0-structure)."""
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        size = data[at + 6 : at + 10]
        if max(size) > 0x7F:
            break
        at += 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3]) + (10 if data[at + 5] & 0x10 else 0)
    return at


def _next_frame(data: bytes, at: int) -> int:
    """Where the next frame begins that another one follows, within what may be left between them; the end of the file where none does."""
    place = data.find(b"\xff", at, at + MOST_PADDING)
    while place >= 0:
        if (frame := _Frame.read(data, place)) and _Frame.read(data, place + frame.size):
            return place
        place = data.find(b"\xff", place + 1, at + MOST_PADDING)
    return len(data)


def mu_law_wav(sound: bytes) -> bytes:
    """A WAV of one channel with the telephone's own 8000 bytes a second."""
    form = struct.pack("<HHIIHHH", MU_LAW, 1, 8000, 8000, 1, 8, 0)
    parts = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts


SILENCE = mu_law_wav(b"\xff" * 4000)
"""Half a second."""
