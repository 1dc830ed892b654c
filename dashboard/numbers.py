"""Numbers in addresses: jobs and versions as both databases can hold them."""

from starlette.convertors import Convertor, register_url_convertor

#: The largest version that a database's integer holds has as many digits as that, and one more.
LARGEST_VERSION = 10**9 - 1


class Number(Convertor[int]):
    """A whole number of up to nine digits; an address with another one is that of no page."""

    regex = "[0-9]{1,9}"

    def convert(self, value: str) -> int:
        """Return the number that stands in the address."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Return the number as an address has it."""
        return str(value)


def register() -> None:
    """Let addresses say `{job:number}`."""
    register_url_convertor("number", Number())
