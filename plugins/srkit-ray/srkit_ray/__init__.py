"""srkit over many machines: `srkit ray upscale` of folders and addresses, `srkit ray bench`."""

from collections.abc import Iterable

from srkit import Command, hookimpl, lazy

srkit_api = 1


@hookimpl
def srkit_commands() -> Iterable[Command]:
    summary = "Millions of pictures, and long benchmarks, on one machine or many by Ray"
    return [Command(name="ray", build=lazy("srkit_ray.command:app"), summary=summary, licence="MIT")]
