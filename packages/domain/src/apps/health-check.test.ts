import { changeHealthCheck, defaultHealthCheck, type HealthCheckChange, type HealthCheckSettings } from './health-check.js'

describe('a health check', () => {
  it.each<[string, HealthCheckSettings, HealthCheckChange, HealthCheckSettings]>([
    ['stays as it is', { type: 'port', timeout: 60 }, {}, { type: 'port', timeout: 60 }],
    ['asks for / when it becomes http', { type: 'port' }, { type: 'http' }, { type: 'http', endpoint: '/' }],
    ['keeps its endpoint', { type: 'http', endpoint: '/h' }, { timeout: 9 }, { type: 'http', endpoint: '/h', timeout: 9 }],
    ['loses its endpoint with its type', { type: 'http', endpoint: '/h' }, { type: 'process' }, { type: 'process' }],
    ['goes back to /', { type: 'http', endpoint: '/h' }, { endpoint: null }, { type: 'http', endpoint: '/' }],
    [
      'goes back to default numbers',
      { type: 'port', timeout: 9, invocationTimeout: 2, interval: 3 },
      { timeout: null, invocationTimeout: null, interval: null },
      { type: 'port' },
    ],
    [
      'takes numbers',
      { type: 'port' },
      { invocationTimeout: 2, interval: 3 },
      { type: 'port', invocationTimeout: 2, interval: 3 },
    ],
  ])('%s', (_name, present, change, expected) => expect(changeHealthCheck(present, change)).toEqual(expected))

  it.each([
    ['web', 'port'],
    ['worker', 'process'],
  ])('of %s is %s by default', (type, expected) => expect(defaultHealthCheck(type).type).toBe(expected))
})
