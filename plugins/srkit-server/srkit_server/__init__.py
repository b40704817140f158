"""srkit over HTTP: the command `srkit serve`, and the queue of jobs that other packages may use."""

from collections.abc import Iterable

from srkit import Command, hookimpl, lazy

srkit_api = 1


@hookimpl
def srkit_commands() -> Iterable[Command]:
    summary = "Upscale over HTTP: POST /upscale gives the file that srkit upscale writes"
    return [Command(name="serve", build=lazy("srkit_server.command:serve"), summary=summary, licence="MIT")]
