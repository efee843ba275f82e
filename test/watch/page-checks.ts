/**
 * What is looked at in a page, as expressions for a browser: the tests themselves know no DOM.
 */

/** Texts that stand out too little from what is behind them: WCAG 2.2, 1.4.3, level AA. */
export const FAINT_TEXTS = `(() => {
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((each) => {
      const part = each / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const groundOf = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = parse(getComputedStyle(each).backgroundColor);
      if (color[3] === 1) return color;
    }
    return [255, 255, 255, 1];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    if (text === '' || !element.checkVisibility() || element.closest('.unseen, .skip, :disabled, script, style')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(parse(style.color)), luminance(groundOf(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) faint.push(text.slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return faint;
})()`;

/** What a screen reader could not name or place. */
export const UNNAMED = `(() => {
  const found = [];
  const textOf = (ids) => ids.split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
  const nameOf = (element) =>
    (element.getAttribute('aria-label') ?? '') +
    textOf(element.getAttribute('aria-labelledby') ?? '') +
    [...(element.labels ?? [])].map((label) => label.textContent).join('') +
    (element.matches('button, a, summary') ? element.textContent : '');
  const named = 'button, a, summary, input, select, progress, dialog, section, figure, [role=img], [role=region], [role=group]';
  for (const element of document.querySelectorAll(named)) {
    if (nameOf(element).trim() === '') found.push('no name: ' + element.outerHTML.slice(0, 80));
  }
  for (const table of document.querySelectorAll('table')) {
    if (!table.caption?.textContent) found.push('a table without a caption');
    for (const cell of table.querySelectorAll('th')) {
      if (!cell.scope) found.push('a heading without scope: ' + cell.textContent);
    }
    for (const row of table.tBodies[0].rows) {
      if (row.querySelectorAll('th').length !== 1) found.push('a row without a heading');
    }
  }
  for (const svg of document.querySelectorAll('svg')) {
    if (svg.getAttribute('aria-hidden') !== 'true') found.push('a sign that is read out');
  }
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  found.push(...ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => 'twice: ' + id));
  for (const tag of ['header', 'main', 'h1']) {
    if (document.querySelectorAll(tag).length !== 1) found.push('not one ' + tag);
  }
  if (!document.documentElement.lang) found.push('no language');
  return found;
})()`;

/** How far the document is wider than the window, in pixels. */
export const OVERFLOW =
  'document.documentElement.scrollWidth - document.documentElement.clientWidth';

/** The element with the focus: its id, or what it is. */
export const FOCUSED = `(() => {
  const element = document.activeElement;
  return element.id || element.className || element.tagName.toLowerCase();
})()`;

/** Whether one sees that the element with the focus has it. */
export const FOCUS_IS_SEEN = `(() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
})()`;

/** Points of each plot's canvas that something was drawn on. */
export const DRAWN_POINTS = `[...document.querySelectorAll('canvas')].map((canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let drawn = 0;
  for (let i = 3; i < data.length; i += 4) if (data[i] > 0) drawn++;
  return drawn;
})`;
