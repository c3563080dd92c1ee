"""Imported by a fork server that is a new interpreter: everything is there then (`engine.work.preload`)."""

from engine.work import preload

preload.import_all()
preload.settle()
