"""srkit-ui: `srkit ui` opens a page in the browser on which pictures are enlarged, looked at and downloaded."""

from srkit import Command, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


@hookimpl
def srkit_commands():
    summary = "Enlarge pictures on a page in the browser"
    return [Command(name="ui", build=lazy("srkit_ui.command:ui"), summary=summary, licence="MIT")]
