"""Reports of runs and verifications as files: Markdown, a page of HTML, JSON and CSV; both front ends write them.

::

    facts       what a report says of the run as a whole, and its sections, as words
    markdown    to read
    page        a page of HTML that needs nothing else, with the throughput as a picture
    chart       that picture
    data        JSON and CSV, for programs
    writing     the formats by the ending of a file's name, and the file
"""
