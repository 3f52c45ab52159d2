// A panel's queries, asked of Prometheus as Grafana would ask them, as the frames that its components draw.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  createTheme,
  dateTime,
  FieldType,
  toDataFrame,
  type DataFrame,
} from '@grafana/data';

const asked = new URLSearchParams(location.search);
const end = Number(asked.get('to'));
const start = Number(asked.get('from'));
const step = Number(asked.get('step'));
const prometheus = asked.get('prometheus');

export const name = asked.get('dashboard');
export const theme = createTheme({ colors: { mode: 'dark' } });
export const timeZone = 'utc';
export const range = {
  from: dateTime(start * 1000),
  to: dateTime(end * 1000),
  raw: { from: dateTime(start * 1000), to: dateTime(end * 1000) },
};

// All replicas of all jobs, and the windows that Grafana works out from the range and the width.
const values: Record<string, string> = {
  job: '.*',
  instance: '.*',
  __rate_interval: `${asked.get('window')}s`,
  __range: `${Math.round(end - start)}s`,
};

function substituted(expression: string): string {
  return expression.replace(/\$(\w+)/g, (whole, variable) => values[variable] ?? whole);
}

function legend(format: string, labels: Record<string, string>): string {
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
}

type Series = { metric: Record<string, string>; values: Array<[number, string]> };

async function ask(target: any): Promise<Series[]> {
  const query = substituted(target.expr);
  const over = new URLSearchParams(
    target.instant ? { query, time: `${end}` } : { query, start: `${start}`, end: `${end}`, step: `${step}` }
  );
  const answer = await fetch(`${prometheus}/api/v1/${target.instant ? 'query' : 'query_range'}?${over}`);
  const body = await answer.json();
  if (body.status !== 'success') {
    throw new Error(`${query}: ${body.error}`);
  }
  return body.data.result.map((one: any) => ({ metric: one.metric, values: one.values ?? [one.value] }));
}

// Lines are broken where samples are missing, as Grafana's data source does it.
function filled(samples: Array<[number, string]>, instant: boolean): { times: number[]; numbers: Array<number | null> } {
  // No number is no point: so does Grafana's panel.
  const number = (text: string) => (Number.isFinite(Number(text)) ? Number(text) : null);
  const known = new Map(samples.map(([at, value]) => [Math.round(at * 1000), number(value)]));
  if (instant) {
    return { times: [...known.keys()], numbers: [...known.values()] };
  }
  const times: number[] = [];
  for (let at = start; at <= end + 1e-6; at += step) {
    times.push(Math.round(at * 1000));
  }
  return { times, numbers: times.map((at) => known.get(at) ?? null) };
}

export async function frames(panel: any): Promise<DataFrame[]> {
  const found: DataFrame[] = [];
  for (const target of panel.targets ?? []) {
    const series = await ask(target);
    for (const one of series) {
      const shown = legend(target.legendFormat, one.metric);
      const { times, numbers } = filled(one.values, target.instant);
      found.push(
        toDataFrame({
          refId: target.refId,
          name: shown,
          fields: [
            { name: 'Time', type: FieldType.time, values: times, config: {} },
            {
              name: shown,
              type: FieldType.number,
              values: numbers,
              config: { ...configured(panel, shown), displayNameFromDS: shown },
              labels: one.metric,
            },
          ],
        })
      );
    }
  }
  found.forEach((frame, place) => frame.fields.forEach((field) => (field.state = { seriesIndex: place })));
  const drawn = applyFieldOverrides({
    data: found,
    fieldConfig: { defaults: {}, overrides: [] },
    replaceVariables: substituted,
    theme,
    timeZone,
  });
  cacheFieldDisplayNames(drawn);
  return drawn;
}

function configured(panel: any, shown: string): any {
  const defaults = panel.fieldConfig?.defaults ?? {};
  const usual = ['stat', 'bargauge'].includes(panel.type) ? 'thresholds' : 'palette-classic';
  const config: any = { color: { mode: usual }, ...defaults, custom: { ...USUAL_LINES, ...defaults.custom } };
  for (const override of panel.fieldConfig?.overrides ?? []) {
    if (override.matcher.id === 'byName' && override.matcher.options === shown) {
      for (const property of override.properties) {
        config[property.id] = property.value;
      }
    }
  }
  return config;
}

const USUAL_LINES = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  showPoints: 'auto',
  pointSize: 5,
  gradientMode: 'none',
  axisPlacement: 'auto',
  spanNulls: false,
};
