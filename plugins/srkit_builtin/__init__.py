"""What ships with srkit, in the form any plugin has: this file is its table of contents and imports no torch."""
