"""Small numbers and texts in as few bytes, and a reader that trusts nothing."""

from automl_compress.core.errors import DataInvalid

_LARGEST_VARINT_BYTES = 9  # 63 bits


def varint(value: int) -> bytes:
    """Write a whole number from 0 to 2^63 - 1, seven bits a byte, the lowest first."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def signed_varint(value: int) -> bytes:
    """Write a whole number of either sign; small magnitudes take few bytes."""
    return varint(2 * value if value >= 0 else -2 * value - 1)


def text(value: str) -> bytes:
    """Write a text with its length in front."""
    encoded = value.encode()
    return varint(len(encoded)) + encoded


class ByteReader:
    """Reads fields from the front of `content`.

    Every method raises DataInvalid where the content ends too early or a field cannot be.
    """

    def __init__(self, content: bytes | memoryview, name: str) -> None:
        """Say by `name` what is read, for messages."""
        self._content, self._name, self._place = memoryview(content), name, 0

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return len(self._content) - self._place

    def take(self, size: int) -> memoryview:
        """Read `size` bytes; nothing is copied."""
        if not 0 <= size <= self.left:
            raise DataInvalid(
                f"{self._name} is cut off: {size:,} bytes should follow, {self.left:,} do; get "
                "the file again"
            )
        self._place += size
        return self._content[self._place - size : self._place]

    def byte(self) -> int:
        """Read a number from 0 to 255."""
        return self.take(1)[0]

    def varint(self) -> int:
        """Read what `varint` wrote."""
        value = 0
        for place in range(_LARGEST_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value
        raise self.invalid("a number is longer than 63 bits")

    def signed_varint(self) -> int:
        """Read what `signed_varint` wrote."""
        value = self.varint()
        return value >> 1 if value % 2 == 0 else -(value >> 1) - 1

    def text(self) -> str:
        """Read what `text` wrote."""
        encoded = bytes(self.take(self.varint()))
        try:
            return encoded.decode()
        except UnicodeDecodeError as error:
            raise self.invalid("a text is not UTF-8") from error

    def end(self) -> None:
        """Raise DataInvalid unless everything was read."""
        if self.left:
            raise self.invalid(f"{self.left:,} bytes follow that belong to nothing")

    def invalid(self, what: str) -> DataInvalid:
        """Make the error that says what is wrong with the content."""
        return DataInvalid(f"{self._name} is damaged: {what}; get the file again")
