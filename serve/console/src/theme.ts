// Before anything is drawn: the theme that was chosen. In a file of its own, since inline scripts are not allowed.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // The system's theme holds.
}
