// The examples of /docs, with the address at which the page was opened.
const QUICKSTART = "http://127.0.0.1:8081";

for (const code of document.querySelectorAll("pre > code")) {
  code.textContent = code.textContent?.replaceAll(QUICKSTART, location.origin) ?? "";
}
export {};
