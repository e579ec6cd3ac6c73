import { Redis } from 'ioredis'

/** `redis://…`, `rediss://…` or `unix:/path/to/socket?db=0`. BullMQ wants unlimited retries; everything waits while Redis is away. */
export function createRedis(url: string): Redis {
  const common = {
    maxRetriesPerRequest: null,
    retryStrategy: (attempt: number) => Math.min(attempt * 100, 2_000),
    lazyConnect: false,
  }
  const redis = url.startsWith('unix:') ? new Redis({ ...common, ...unixOptions(url) }) : new Redis(url, common)
  redis.on('error', () => undefined) // reconnects by itself; what depends on it sweeps
  return redis
}

function unixOptions(url: string): { path: string; password?: string } {
  const { pathname, searchParams } = new URL(url)
  const password = searchParams.get('password')
  return { path: pathname, ...(password ? { password } : {}) }
}
export type { Redis }
