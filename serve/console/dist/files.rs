// Written by build.mjs.
&[
    File {
        name: "app-3b15d1e984.js",
        content_type: "text/javascript",
        hash: "3b15d1e984",
        immutable: true,
        bytes: include_bytes!("app-3b15d1e984.js"),
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
        hash: "68b3d77a04",
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
        name: "style-bd66dbaadc.css",
        content_type: "text/css",
        hash: "bd66dbaadc",
        immutable: true,
        bytes: include_bytes!("style-bd66dbaadc.css"),
    },
    File {
        name: "theme-1b056d27fd.js",
        content_type: "text/javascript",
        hash: "1b056d27fd",
        immutable: true,
        bytes: include_bytes!("theme-1b056d27fd.js"),
    },
]
