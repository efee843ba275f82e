import { BarChart, CustomChart } from 'echarts/charts';
import { GridComponent, TitleComponent } from 'echarts/components';
import { type EChartsCoreOption, init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { figureText } from './figure-text.js';
import type { FigureName } from './figures.js';
import type { BenchResult } from './result-file.js';
import type { TargetSummary, TrialSummary } from './trial-summary.js';

const WIDTH = 1120;
const HEADER_HEIGHT = 84;
const FOOTER_HEIGHT = 40;
const TRIAL_HEADER_HEIGHT = 58;
const BAR_HEIGHT = 34;
const TRIAL_GAP = 22;
const NAME_WIDTH = 190;
const MARGIN = 36;

const INK = '#1f2933';
const FAINT_INK = '#7b8794';
const BACKGROUND = '#fbfbf9';
const RULE = '#e4e7eb';
/** The bar that the trial is about, and the ones that it is measured against. */
const OWN_COLOR = '#0f766e';
const OTHER_COLORS = ['#cbd2d9', '#e0d3b8', '#d9d2e9'] as const;
// No quotation marks: the renderer puts them into an attribute as they are.
const FONT = 'Inter, Helvetica, Arial, sans-serif';

/** The panels of a trial, side by side. */
const PANELS: readonly {
  readonly figure: FigureName;
  readonly title: string;
  readonly left: number;
  readonly width: number;
}[] = [
  {
    figure: 'rowsPerSecond',
    title: 'rows per second, longer is better',
    left: MARGIN + NAME_WIDTH,
    width: 410,
  },
  {
    figure: 'cpuUsPerRow',
    title: 'CPU microseconds per row, shorter is better',
    left: 780,
    width: 180,
  },
];

/** One picture of all trials: speed on the left, CPU time on the right, whiskers from the worst to the best round. */
export function drawChart({ trials, machine, startedAt }: BenchResult): string {
  use([BarChart, CustomChart, GridComponent, TitleComponent, SVGRenderer]);
  const sections = layOut(trials);
  const height =
    HEADER_HEIGHT +
    FOOTER_HEIGHT +
    sections.reduce((sum, section) => sum + section.height + TRIAL_GAP, 0);
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  try {
    const drawn = sections.flatMap((section, row) =>
      PANELS.map((panel, column) => drawPanel(section, panel, row * PANELS.length + column)),
    );
    const memory = Math.round(machine.memoryBytes / 1024 ** 3);
    const option: EChartsCoreOption = {
      animation: false,
      backgroundColor: BACKGROUND,
      textStyle: { fontFamily: FONT },
      title: [
        label('storage-sync, measured', MARGIN, 22, { fontSize: 24, fontWeight: 'bold' }),
        label(
          'Medians; whiskers span the rounds. In green: the first bar over this one, divided round by round.',
          MARGIN,
          54,
          { fontSize: 13, color: FAINT_INK },
        ),
        ...sections.flatMap(sectionLabels),
        label(
          `${machine.cpu}, ${machine.cores} cores, ${memory} GB, ${machine.system}, ` +
            `Node ${machine.node}, ${startedAt.slice(0, 10)}` +
            (machine.commit === null ? '' : `, ${machine.commit.slice(0, 7)}`),
          MARGIN,
          height - 30,
          { fontSize: 11, color: FAINT_INK },
        ),
      ],
      grid: drawn.map(({ grid }) => grid),
      xAxis: drawn.map(({ xAxis }) => xAxis),
      yAxis: drawn.map(({ yAxis }) => yAxis),
      series: drawn.flatMap(({ series }) => series),
    };
    chart.setOption(option);
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}

interface Section {
  readonly trial: TrialSummary;
  readonly top: number;
  readonly height: number;
}

function layOut(trials: readonly TrialSummary[]): readonly Section[] {
  let top = HEADER_HEIGHT;
  return trials.map((trial) => {
    const height = TRIAL_HEADER_HEIGHT + trial.targets.length * BAR_HEIGHT;
    const section = { trial, top, height };
    top += height + TRIAL_GAP;
    return section;
  });
}

function sectionLabels({ trial, top }: Section): readonly object[] {
  const { title, rows, rounds } = trial;
  return [
    label(title, MARGIN, top, { fontSize: 16, fontWeight: 'bold' }),
    label(
      `${rows.toLocaleString('en')} rows, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}`,
      MARGIN,
      top + 24,
      { fontSize: 12, color: FAINT_INK },
    ),
    ...PANELS.map((panel) =>
      label(panel.title, panel.left, top + 24, { fontSize: 12, color: FAINT_INK }),
    ),
  ];
}

function drawPanel(
  { trial, top }: Section,
  { figure, left, width }: (typeof PANELS)[number],
  index: number,
): {
  readonly grid: object;
  readonly xAxis: object;
  readonly yAxis: object;
  readonly series: readonly object[];
} {
  const { targets } = trial;
  const isFirstPanel = figure === PANELS[0]?.figure;
  return {
    grid: {
      left,
      width,
      top: top + TRIAL_HEADER_HEIGHT - 8,
      height: targets.length * BAR_HEIGHT,
    },
    xAxis: {
      gridIndex: index,
      type: 'value',
      min: 0,
      max: Math.max(...targets.map(({ figures }) => figures[figure]?.max ?? 0)),
      axisLabel: { show: false },
      splitLine: { show: false },
    },
    yAxis: {
      gridIndex: index,
      type: 'category',
      inverse: true,
      data: targets.map(({ target }) => target.title),
      axisTick: { show: false },
      axisLine: { show: true, lineStyle: { color: RULE, width: 2 } },
      axisLabel: {
        show: isFirstPanel,
        color: INK,
        fontSize: 13,
        margin: 12,
      },
    },
    series: [
      {
        type: 'bar',
        xAxisIndex: index,
        yAxisIndex: index,
        barWidth: 20,
        data: targets.map((target, i) => ({
          value: target.figures[figure]?.median ?? 0,
          itemStyle: {
            color: i === 0 ? OWN_COLOR : OTHER_COLORS[(i - 1) % OTHER_COLORS.length],
            borderRadius: [0, 3, 3, 0],
          },
        })),
      },
      whiskers(targets, figure, index),
      valueLabels(trial, figure, index),
    ],
  };
}

/** The part of what a custom series is drawn with that is used here. */
interface DrawingApi {
  value(dimension: number): number;
  coord(point: readonly [number, number]): [number, number];
}

function whiskers(targets: readonly TargetSummary[], figure: FigureName, index: number): object {
  return {
    type: 'custom',
    xAxisIndex: index,
    yAxisIndex: index,
    silent: true,
    z: 3,
    encode: { x: [1, 2], y: 0 },
    data: targets.map(({ figures }, i) => [
      i,
      figures[figure]?.min ?? 0,
      figures[figure]?.max ?? 0,
    ]),
    renderItem: (_: unknown, api: DrawingApi) => {
      const [from, y] = api.coord([api.value(1), api.value(0)]);
      const [to] = api.coord([api.value(2), api.value(0)]);
      const line = (x1: number, y1: number, x2: number, y2: number): object => ({
        type: 'line',
        shape: { x1, y1, x2, y2 },
        style: { stroke: INK, lineWidth: 1.2, opacity: 0.7 },
      });
      return {
        type: 'group',
        children: [
          line(from, y, to, y),
          line(from, y - 4, from, y + 4),
          line(to, y - 4, to, y + 4),
        ],
      };
    },
  };
}

/** The median, and how the trial's first target compares, right of each bar's whisker. */
function valueLabels(trial: TrialSummary, figure: FigureName, index: number): object {
  return {
    type: 'custom',
    xAxisIndex: index,
    yAxisIndex: index,
    silent: true,
    z: 4,
    encode: { x: 1, y: 0 },
    data: trial.targets.map(({ figures }, i) => [i, figures[figure]?.max ?? 0]),
    renderItem: (_: unknown, api: DrawingApi) => {
      const at = api.value(0);
      const [x, y] = api.coord([api.value(1), at]);
      const { target, figures } = trial.targets[at] ?? {};
      const ratio = trial.ratios.find(({ against }) => against === target?.id)?.figures[figure];
      const value = figureText(figure, figures?.[figure]?.median);
      return {
        type: 'text',
        style: {
          text: ratio ? `{value|${value}}{ratio|${ratio.median.toFixed(2)}x}` : `{value|${value}}`,
          x: x + 10,
          y,
          verticalAlign: 'middle',
          rich: {
            value: {
              fontFamily: FONT,
              fontSize: 13,
              fill: INK,
              fontWeight: at === 0 ? 'bold' : 'normal',
            },
            ratio: { fontFamily: FONT, fontSize: 12, fill: OWN_COLOR, padding: [0, 0, 0, 14] },
          },
        },
      };
    },
  };
}

function label(
  text: string,
  left: number,
  top: number,
  style: {
    readonly fontSize: number;
    readonly fontWeight?: 'bold' | 'normal';
    readonly color?: string;
  },
): object {
  return {
    text,
    left,
    top,
    padding: 0,
    textStyle: { fontFamily: FONT, fontWeight: 'normal', color: INK, ...style },
  };
}
