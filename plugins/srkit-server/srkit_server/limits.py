"""How much one may ask of a server or a page. Imports nothing but the standard library."""

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one may ask of a server.

    upload: bytes of a picture. pixels: of a picture. result_pixels: of what is made of it. seconds: that a job may be
    computed. waiting: jobs in the queue, that which is computed not among them. kept: seconds until the files of a job
    that ended are deleted. disk: bytes that those take together; the oldest go first.
    """

    upload: int = 50 * MB
    pixels: int = 50_000_000
    result_pixels: int = 200_000_000
    seconds: float = 3600.0
    waiting: int = 20
    kept: float = 3600.0
    disk: int = 4_000_000_000
