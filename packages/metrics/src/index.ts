export * from './catalogue.js';
export * from './endpoint.js';
export * from './process-metrics.js';
export * from './scrape.js';
