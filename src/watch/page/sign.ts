import { setAttribute } from './dom.js';

/** How well something stands. Each has a sign of its own shape, so that no meaning rests on colour alone. */
export type Level = 'good' | 'busy' | 'warning' | 'bad' | 'unknown';

const SVG = 'http://www.w3.org/2000/svg';

export function createSign(): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'sign');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(SVG, 'use'));
  return svg;
}

export function setSign(svg: Element, level: Level): void {
  setAttribute(svg, 'data-level', level);
  setAttribute(svg.firstElementChild!, 'href', `#sign-${level}`);
}
