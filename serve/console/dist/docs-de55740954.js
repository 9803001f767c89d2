var e="http://127.0.0.1:8081";for(let t of document.querySelectorAll("pre > code"))t.textContent=t.textContent?.replaceAll(e,location.origin)??"";
