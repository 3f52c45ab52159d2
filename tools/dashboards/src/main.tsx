// One dashboard as a page. `data-done` on the body says that every panel has its data, or has failed.
import './boot';

import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import { ThemeContext } from '@grafana/data';
import { GlobalStyles } from '@grafana/ui';
import * as React from 'react';
import { createRoot } from 'react-dom/client';

import { name, theme } from './data';
import { heightOf, Panel } from './panels';
import './smaller';

const PADDING = 16;

function Variable({ label, value }: { label: string; value: string }) {
  const box = { border: `1px solid ${theme.colors.border.medium}`, padding: '6px 8px', display: 'inline-block' };
  return (
    <span style={{ marginRight: 12 }}>
      <span style={{ ...box, background: theme.colors.background.secondary }}>{label}</span>
      <span style={{ ...box, borderLeft: 'none', color: theme.colors.text.secondary }}>{value}</span>
    </span>
  );
}

function Dashboard({ board }: { board: any }) {
  const width = document.documentElement.clientWidth - 2 * PADDING;
  const left = React.useRef(board.panels.length);
  const done = React.useCallback(() => {
    left.current -= 1;
    if (left.current === 0) {
      // One more turn for the panels to be drawn.
      setTimeout(() => (document.body.dataset.done = 'true'), 500);
    }
  }, []);
  return (
    <div style={{ padding: PADDING, color: theme.colors.text.primary, fontFamily: theme.typography.fontFamily }}>
      <div style={{ fontSize: 20, fontWeight: 500, height: 32 }}>{board.title}</div>
      <div style={{ height: 44, fontSize: 12 }}>
        {board.templating.list.map((one: any) => (
          <Variable key={one.name} label={one.label} value={one.type === 'datasource' ? 'Prometheus' : 'All'} />
        ))}
      </div>
      <div style={{ position: 'relative', height: heightOf(rowsOf(board)) }}>
        {board.panels.map((panel: any) => (
          <Panel key={panel.id} panel={panel} width={width} done={done} />
        ))}
      </div>
    </div>
  );
}

function rowsOf(board: any): number {
  return Math.max(...board.panels.map((panel: any) => panel.gridPos.y + panel.gridPos.h));
}

async function main() {
  const board = await (await fetch(`/dashboards/${name}.json`)).json();
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Dashboard board={board} />
    </ThemeContext.Provider>
  );
}

main().catch((error) => (document.body.dataset.error = String(error)));
