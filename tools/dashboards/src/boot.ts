// What Grafana's page would have set up before its components are loaded.
(globalThis as any).grafanaBootData ??= {
  settings: { featureToggles: {}, appSubUrl: '' },
  user: { timezone: 'utc' },
  navTree: [],
};
