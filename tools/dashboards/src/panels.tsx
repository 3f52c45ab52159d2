// One panel with its frame, drawn by the component that Grafana draws it with; what it came to stands in the page.
import { getDisplayValueAlignmentFactors, getFieldDisplayValues, VizOrientation, type DataFrame } from '@grafana/data';
import {
  BarGauge,
  BigValue,
  BigValueColorMode,
  BigValueJustifyMode,
  PanelChrome,
  TimeSeries,
  VizRepeater,
} from '@grafana/ui';
import * as React from 'react';

import { frames, range, theme, timeZone } from './data';
import { Heatmap } from './heatmap';

const ROW = 30;
const GAP = 8;

export function heightOf(rows: number): number {
  return rows * (ROW + GAP);
}

export function Panel({ panel, width, done }: { panel: any; width: number; done: () => void }) {
  const [data, setData] = React.useState<DataFrame[]>();
  const [error, setError] = React.useState('');
  React.useEffect(() => {
    if (panel.type === 'row') {
      done();
      return;
    }
    frames(panel).then(setData, (failure) => setError(String(failure))).finally(done);
  }, []);
  const { x, y, w, h } = panel.gridPos;
  const column = (width + GAP) / 24;
  const place: React.CSSProperties = {
    position: 'absolute',
    left: x * column,
    top: heightOf(y),
    width: w * column - GAP,
    height: heightOf(h) - GAP,
  };
  if (panel.type === 'row') {
    const style = { ...place, color: theme.colors.text.primary, fontSize: 16, fontWeight: 500, lineHeight: `${ROW}px` };
    return <div style={style}>{panel.title}</div>;
  }
  const empty = data !== undefined && !data.some((frame) => frame.fields[1].values.some(Number.isFinite));
  const state = error ? 'error' : data === undefined ? 'waiting' : empty ? 'empty' : 'data';
  return (
    <div style={place} data-panel={panel.title} data-kind={panel.type} data-state={state} data-error={error}>
      <PanelChrome
        title={panel.title}
        description={panel.description}
        width={place.width as number}
        height={place.height as number}
        statusMessage={error || undefined}
      >
        {(innerWidth, innerHeight) =>
          state === 'data' ? (
            <Drawn panel={panel} data={data!} width={innerWidth} height={innerHeight} />
          ) : (
            <div style={{ color: theme.colors.text.secondary, textAlign: 'center' }}>
              {error || (empty ? panel.fieldConfig.defaults.noValue : '')}
            </div>
          )
        }
      </PanelChrome>
    </div>
  );
}

type Size = { panel: any; data: DataFrame[]; width: number; height: number };

function Drawn({ panel, data, width, height }: Size) {
  if (panel.type === 'stat') {
    return <Numbers panel={panel} data={data} width={width} height={height} />;
  }
  if (panel.type === 'bargauge') {
    return <Bars panel={panel} data={data} width={width} height={height} />;
  }
  if (panel.type === 'heatmap') {
    return <Heatmap panel={panel} data={data} width={width} height={height} />;
  }
  if (panel.type === 'timeseries') {
    return (
      <TimeSeries
        frames={data}
        structureRev={1}
        timeRange={range as any}
        timeZone={timeZone}
        width={width}
        height={height}
        legend={panel.options.legend}
        options={panel.options}
      />
    );
  }
  throw new Error(`no component for a panel of type ${panel.type}`);
}

function displayed(panel: any, data: DataFrame[], sparkline: boolean) {
  return getFieldDisplayValues({
    data,
    fieldConfig: { defaults: {}, overrides: [] },
    reduceOptions: { values: false, ...panel.options.reduceOptions },
    replaceVariables: (text: string) => text,
    theme,
    timeZone,
    sparkline,
  });
}

function Numbers({ panel, data, width, height }: Size) {
  const { textMode, graphMode } = panel.options;
  return (
    <VizRepeater
      source={data}
      renderCounter={1}
      width={width}
      height={height}
      orientation={VizOrientation.Auto}
      autoGrid
      itemSpacing={3}
      getValues={() => displayed(panel, data, graphMode === 'area')}
      renderValue={({ value, width: itsWidth, height: itsHeight, count }) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline}
          width={itsWidth}
          height={itsHeight}
          theme={theme}
          colorMode={BigValueColorMode.Value}
          graphMode={graphMode}
          textMode={textMode}
          justifyMode={BigValueJustifyMode.Auto}
        />
      )}
    />
  );
}

function Bars({ panel, data, width, height }: Size) {
  const { displayMode, valueMode, orientation, text } = panel.options;
  return (
    <VizRepeater
      source={data}
      renderCounter={1}
      width={width}
      height={height}
      orientation={orientation}
      itemSpacing={8}
      minVizHeight={16}
      maxVizHeight={300}
      getValues={() => displayed(panel, data, false)}
      getAlignmentFactors={(all) => getDisplayValueAlignmentFactors(all)}
      renderValue={({ value, width: itsWidth, height: itsHeight, alignmentFactors }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex!)}
          width={itsWidth}
          height={itsHeight}
          orientation={orientation}
          displayMode={displayMode}
          valueDisplayMode={valueMode}
          text={text}
          itemSpacing={8}
          alignmentFactors={alignmentFactors}
          showUnfilled
          isOverflow={false}
          theme={theme}
        />
      )}
    />
  );
}
