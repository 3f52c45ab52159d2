// Grafana's heat map lives in its server's code, not in its components: this one follows its colours and its layout.
import { formattedValueToString, getValueFormat, type DataFrame } from '@grafana/data';
import { useTheme2 } from '@grafana/ui';
import { interpolateOranges } from 'd3-scale-chromatic';
import * as React from 'react';

const LEFT = 52;
const BOTTOM = 22;
const SCALE = 34;
const STEPS = 64;

// As Grafana inverts this scheme on dark backgrounds: many are bright.
const color = (share: number) => interpolateOranges(1 - Math.round(share * (STEPS - 1)) / (STEPS - 1));

export function Heatmap({ data, panel, width, height }: { data: DataFrame[]; panel: any; width: number; height: number }) {
  const canvas = React.useRef<HTMLCanvasElement>(null);
  const theme = useTheme2();
  const { bounds, times, counts, most } = React.useMemo(() => parted(data), [data]);
  const unit = getValueFormat(panel.options.yAxis.unit);
  React.useEffect(() => {
    const node = canvas.current!;
    const ratio = window.devicePixelRatio;
    node.width = width * ratio;
    node.height = height * ratio;
    const pen = node.getContext('2d')!;
    pen.scale(ratio, ratio);
    pen.font = `12px ${theme.typography.fontFamily}`;
    pen.fillStyle = theme.colors.text.primary;
    const right = width - 8;
    const low = height - BOTTOM - SCALE;
    const cell = { width: (right - LEFT) / times.length, height: (low - 6) / bounds.length };
    pen.textBaseline = 'middle';
    pen.textAlign = 'right';
    const every = Math.ceil(16 / cell.height);
    bounds.forEach((bound, row) => {
      const y = low - row * cell.height;
      if (row % every === 0) {
        const text = Number.isFinite(bound) ? formattedValueToString(unit(bound)) : '+Inf';
        pen.fillText(text, LEFT - 6, y - cell.height);
      }
      counts[row].forEach((count, column) => {
        if (count > 0) {
          pen.fillStyle = color(count / most);
          pen.fillRect(LEFT + column * cell.width, y - cell.height + 1, Math.max(1, cell.width - 1), cell.height - 1);
        }
      });
      pen.fillStyle = theme.colors.text.primary;
    });
    pen.textAlign = 'center';
    const marks = 6;
    for (let mark = 1; mark < marks; mark++) {
      const column = Math.round((mark / marks) * (times.length - 1));
      const at = new Date(times[column]).toISOString().slice(11, 19);
      pen.fillText(at, LEFT + (column + 0.5) * cell.width, low + 12);
    }
    const bar = { x: LEFT, y: height - 14, width: Math.min(240, width / 3), height: 8 };
    for (let x = 0; x < bar.width; x++) {
      pen.fillStyle = color(x / bar.width);
      pen.fillRect(bar.x + x, bar.y, 1, bar.height);
    }
    pen.fillStyle = theme.colors.text.secondary;
    pen.textAlign = 'left';
    pen.fillText(`1 to ${formattedValueToString(getValueFormat('short')(most, 0))} calls`, bar.x + bar.width + 8, bar.y + 4);
  }, [data, width, height]);
  return <canvas ref={canvas} style={{ width, height, display: 'block' }} />;
}

// The cumulated counts of each bound, made into counts between bounds, without bounds that nothing ever reached.
function parted(data: DataFrame[]) {
  const bound = (frame: DataFrame) => (frame.name === '+Inf' ? Infinity : Number(frame.name));
  const rows = [...data].sort((one, other) => bound(one) - bound(other));
  const cumulated = rows.map((frame) => frame.fields[1].values.map((value: number | null) => value ?? 0));
  const counts = cumulated.map((row, place) =>
    row.map((count: number, at: number) => Math.max(0, count - (place ? cumulated[place - 1][at] : 0)))
  );
  const used = counts.map((row) => row.some((count: number) => count > 0.01));
  const first = Math.max(0, used.indexOf(true) - 1);
  const last = used.lastIndexOf(true);
  return {
    bounds: rows.map(bound).slice(first, last + 1),
    times: rows[0].fields[0].values as number[],
    counts: counts.slice(first, last + 1),
    most: Math.max(...counts.flat()),
  };
}
