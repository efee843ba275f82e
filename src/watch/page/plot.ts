import uPlot from 'uplot';
import { DataTable, type Column } from './data-table.js';
import { create, setAttribute, setHidden, setText } from './dom.js';
import type { Timespan } from './timespan.js';

const HEIGHT = 190;
const FONT = '12px system-ui, sans-serif';
const SVG = 'http://www.w3.org/2000/svg';

/** A series as the legend shows it: a sign of the shape that is drawn, in a colour variable of the style sheet. */
export interface LegendEntry {
  readonly label: string;
  /** In a box of 12 by 12. */
  readonly shape: string;
  readonly color: string;
  readonly isFilled?: boolean;
}

export interface PlotOptions<T> {
  readonly title: string;
  readonly legend: readonly LegendEntry[];
  readonly timespan: Timespan;
  readonly series: readonly uPlot.Series[];
  readonly scales: uPlot.Scales;
  readonly axes: readonly uPlot.Axis[];
  readonly draw?: (plot: uPlot) => void;
  /** What there is to say of the point under the pointer, or of the last one. */
  readonly readOut: (item: T) => string;
  readonly columns: readonly Column<T>[];
  readonly keyOf: (item: T) => string;
  readonly empty: string;
}

/** A plot over time, with a read-out of what is under the pointer and the same data as a table. */
export class Plot<T> {
  readonly #options: PlotOptions<T>;
  readonly #empty: HTMLElement;
  readonly #readOut = create('p', 'read-out');
  readonly #canvas = create('div', 'canvas');
  readonly #details = create('details');
  readonly #legend: HTMLElement;
  readonly #table: DataTable<T>;
  readonly #plot: uPlot;
  #items: readonly T[] = [];

  constructor(figure: HTMLElement, options: PlotOptions<T>) {
    this.#options = options;
    const { title, legend, columns, keyOf, empty } = options;
    const caption = create('figcaption');
    const heading = create('h2', '', title);
    heading.id = `${figure.id}-title`;
    this.#legend = legendOf(legend);
    caption.append(heading, this.#legend);
    this.#empty = create('p', 'empty', empty);
    this.#canvas.setAttribute('role', 'img');
    this.#details.append(create('summary', '', 'As a table'));
    figure.append(caption, this.#readOut, this.#canvas, this.#details);
    this.#table = new DataTable(this.#details, { caption: title, columns, keyOf, empty });
    this.#details.addEventListener('toggle', () => this.#fillTable());
    this.#plot = new uPlot(this.#plotOptions(), [[]], this.#canvas);
    this.#canvas.append(this.#empty);
    new ResizeObserver(() => this.#resize()).observe(this.#canvas);
    this.#resize();
  }

  /** @param data of each series, `x` first; the items are those of the same places. */
  show(items: readonly T[], data: uPlot.AlignedData): void {
    this.#items = items;
    setHidden(this.#empty, items.length > 0);
    this.#plot.root.classList.toggle('bare', items.length === 0);
    this.#plot.setData(data);
    this.#tellOfCursor();
    const last = items.at(-1);
    const { title, readOut, empty } = this.#options;
    const said = last === undefined ? empty : `Last: ${readOut(last)}`;
    const label = `${title}. ${said} The table below has all points.`;
    setAttribute(this.#canvas, 'aria-label', label);
    this.#fillTable();
  }

  /** Says something else of a series. */
  relabel(entry: number, label: string): void {
    setText(this.#legend.children[entry]!.lastElementChild!, label);
  }

  /** Draws again, in the colours of the theme. */
  redraw(): void {
    this.#plot.redraw(false, true);
  }

  #plotOptions(): uPlot.Options {
    const { timespan, series, scales, axes, draw } = this.#options;
    return {
      width: 300,
      height: HEIGHT,
      padding: [10, null, 0, null],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        sync: { key: 'rounds', scales: ['x', null], setSeries: false },
      },
      scales: { x: { time: true, range: () => timespan.range }, ...scales },
      series: [{}, ...series],
      axes: [{ ...axisBase(), size: 28, space: 70, values: timeTicks }, ...axes],
      hooks: {
        setCursor: [() => this.#tellOfCursor()],
        ...(draw && { draw: [draw] }),
      },
    };
  }

  #resize(): void {
    const width = Math.floor(this.#canvas.clientWidth);
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }

  #tellOfCursor(): void {
    const { idx } = this.#plot?.cursor ?? {};
    const item = typeof idx === 'number' ? this.#items[idx] : this.#items.at(-1);
    setText(this.#readOut, item === undefined ? '\u00a0' : this.#options.readOut(item));
  }

  #fillTable(): void {
    // Some thousand cells that nobody sees are not kept up to date.
    if (this.#details.open) this.#table.show(this.#items.toReversed());
  }
}

/** A colour of the theme, by the variable's name. */
export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** What all axes have in common. */
export function axisBase(): uPlot.Axis {
  return {
    stroke: () => color('--muted'),
    font: FONT,
    labelFont: FONT,
    grid: { stroke: () => color('--grid'), width: 1 },
    ticks: { stroke: () => color('--grid'), width: 1, size: 4 },
  };
}

function legendOf(entries: readonly LegendEntry[]): HTMLElement {
  const list = create('ul', 'legend');
  for (const { label, shape, color: name, isFilled } of entries) {
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 12 12');
    svg.setAttribute('aria-hidden', 'true');
    svg.style.color = `var(${name})`;
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', shape);
    path.setAttribute('class', isFilled ? 'fill' : 'line');
    svg.append(path);
    const item = create('li');
    item.append(svg, create('span', '', label));
    list.append(item);
  }
  return list;
}

const DAY_S = 86_400;

function timeTicks(
  _plot: uPlot,
  splits: number[],
  _axis: number,
  _space: number,
  step: number,
): string[] {
  return splits.map((at) => {
    const date = new Date(at * 1000);
    const two = (number: number) => String(number).padStart(2, '0');
    const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    const minute = `${two(date.getHours())}:${two(date.getMinutes())}`;
    if (step >= DAY_S) return day;
    if (step >= 60) return minute === '00:00' ? day : minute;
    return `${minute}:${two(date.getSeconds())}`;
  });
}
