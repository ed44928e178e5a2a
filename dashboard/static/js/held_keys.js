// A key that is held down is one press: browsers repeat it, and each time would issue a number more.

/** Has Enter press buttons and send forms once, however long it is held; text goes on as it does. */
export function pressOnce() {
  document.addEventListener("keydown", (event) => {
    const isText = event.target instanceof HTMLTextAreaElement;
    if (event.repeat && event.key === "Enter" && !isText) event.preventDefault();
  }, { capture: true });
}
