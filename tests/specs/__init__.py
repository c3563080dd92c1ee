"""The public driver specifications' own tests, run through this program: `make specs DIR=...`.

They are others' data and not in this repository: DIR is a folder with their JSON files, or with folders of them, such as
`uri-tests` and `bson-corpus`, from https://github.com/mongodb/specifications. `make test` does not run them; what they taught
stands among our own tests.
"""
