"""The engine's tests against every version of both servers that packages have: `make versions`."""
