"""The engine process: `python -P -m engine RUN_ID`, with settings as one JSON line on standard input."""

from engine.control.server import main

if __name__ == "__main__":
    main()
