// Written by build.mjs.
&[
    File {
        name: "app-a1995a1468.js",
        content_type: "text/javascript",
        hash: "a1995a1468",
        immutable: true,
        bytes: include_bytes!("app-a1995a1468.js"),
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
        hash: "1109a5274f",
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
        name: "style-b92184ba4f.css",
        content_type: "text/css",
        hash: "b92184ba4f",
        immutable: true,
        bytes: include_bytes!("style-b92184ba4f.css"),
    },
    File {
        name: "theme-1b056d27fd.js",
        content_type: "text/javascript",
        hash: "1b056d27fd",
        immutable: true,
        bytes: include_bytes!("theme-1b056d27fd.js"),
    },
]
