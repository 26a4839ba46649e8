"""The commands: parse, build, call. Only here are arguments read and anything printed."""
