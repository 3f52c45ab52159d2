// The page is one that any server of files can serve; data come from the Prometheus that its address names.
export default {
  base: './',
  define: { 'process.env': '{}', global: 'globalThis' },
  build: { target: 'es2022', chunkSizeWarningLimit: 99999, modulePreload: false },
};
