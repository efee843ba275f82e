/** An element of the page's skeleton. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no element ${id}.`);
  return element as T;
}

/** A text that is the same stays untouched, and with it what the reader has selected in it. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function setHidden(element: HTMLElement, hidden: boolean): void {
  if (element.hidden !== hidden) element.hidden = hidden;
}

export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  text = '',
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  if (text !== '') element.textContent = text;
  return element;
}

const keys = new WeakMap<Element, string>();

export interface ChildPatch<T> {
  readonly keyOf: (item: T) => string;
  readonly make: () => HTMLElement;
  readonly fill: (element: HTMLElement, item: T) => void;
}

/** Makes the children those of the items, in their order; the child of a key stays the same element. */
export function patchChildren<T>(
  parent: HTMLElement,
  items: readonly T[],
  { keyOf, make, fill }: ChildPatch<T>,
): void {
  const left = new Map([...parent.children].map((child) => [keys.get(child) ?? '', child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const child = (left.get(key) as HTMLElement | undefined) ?? make();
    left.delete(key);
    keys.set(child, key);
    fill(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of left.values()) child.remove();
}
