// Written by build.mjs.
&[
    File {
        name: "app-636e07a73e.js",
        content_type: "text/javascript",
        hash: "636e07a73e",
        immutable: true,
        bytes: include_bytes!("app-636e07a73e.js"),
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
        hash: "976c45c709",
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
        name: "style-33548f7d77.css",
        content_type: "text/css",
        hash: "33548f7d77",
        immutable: true,
        bytes: include_bytes!("style-33548f7d77.css"),
    },
    File {
        name: "theme-1b056d27fd.js",
        content_type: "text/javascript",
        hash: "1b056d27fd",
        immutable: true,
        bytes: include_bytes!("theme-1b056d27fd.js"),
    },
]
