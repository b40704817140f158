"""srkit-tiny keeps srkit's contract. Run with `pytest` after `pip install -e '.[test]'`."""

pytest_plugins = "srkit.testing.pytest_plugin"


def test_it_keeps_the_contract(srkit_check):
    srkit_check("model", "tiny")
