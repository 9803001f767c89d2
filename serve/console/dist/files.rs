// Written by build.mjs.
&[
    File {
        name: "app-74806f1ea9.js",
        content_type: "text/javascript",
        hash: "74806f1ea9",
        immutable: true,
        bytes: include_bytes!("app-74806f1ea9.js"),
    },
    File {
        name: "headwater-events.js",
        content_type: "text/javascript",
        hash: "ff55df415e",
        immutable: false,
        bytes: include_bytes!("headwater-events.js"),
    },
    File {
        name: "icon-8c168cd5a2.svg",
        content_type: "image/svg+xml",
        hash: "8c168cd5a2",
        immutable: true,
        bytes: include_bytes!("icon-8c168cd5a2.svg"),
    },
    File {
        name: "index.html",
        content_type: "text/html; charset=utf-8",
        hash: "110d2b3bcd",
        immutable: false,
        bytes: include_bytes!("index.html"),
    },
    File {
        name: "land-78c9d025ce.json",
        content_type: "application/json",
        hash: "78c9d025ce",
        immutable: true,
        bytes: include_bytes!("land-78c9d025ce.json"),
    },
    File {
        name: "licences.txt",
        content_type: "text/plain; charset=utf-8",
        hash: "16d126c530",
        immutable: false,
        bytes: include_bytes!("licences.txt"),
    },
    File {
        name: "style-a86d29e28f.css",
        content_type: "text/css",
        hash: "a86d29e28f",
        immutable: true,
        bytes: include_bytes!("style-a86d29e28f.css"),
    },
    File {
        name: "theme-1b056d27fd.js",
        content_type: "text/javascript",
        hash: "1b056d27fd",
        immutable: true,
        bytes: include_bytes!("theme-1b056d27fd.js"),
    },
]
