import { z } from 'zod'
import type { Offering, Plan } from '../engine.js'

const maxmemory_policy = z
  .enum([
    'noeviction',
    'allkeys-lru',
    'allkeys-lfu',
    'allkeys-random',
    'volatile-lru',
    'volatile-lfu',
    'volatile-random',
    'volatile-ttl',
  ])
  .describe('What happens when the memory is used up: "noeviction" (the default) refuses writes, the others remove keys')

export const REDIS: Offering = {
  id: '5b1c6a58-93b7-4d0e-8f2d-2f6a1f3f0d01',
  name: 'redis',
  displayName: 'Redis',
  description: 'Redis servers of their own with a user per binding, persistence, backups and restore',
  tags: ['redis', 'key-value', 'cache'],
  documentationUrl: 'https://redis.io/docs/',
  parameters: {
    create: z.strictObject({ maxmemory_policy: maxmemory_policy.optional() }),
    update: z.strictObject({ maxmemory_policy: maxmemory_policy.optional() }),
    bind: z.strictObject({
      legacy_password: z
        .boolean()
        .optional()
        .describe('For clients that know no user names: credentials hold a password alone, of the default user'),
    }),
  },
}

/** Of a server's memory: the rest is for its own needs, above all for copies that are made while it writes to disk. */
const DATA_SHARE = 0.5
/** What keys and values may take on a server with this much memory. */
export const maxmemoryMb = (memoryMb: number): number => Math.floor(memoryMb * DATA_SHARE)
export const connectionsFor = (memoryMb: number): number => Math.min(memoryMb * 2, 2_000)

const plan = (id: string, name: string, memoryMb: number): Plan => {
  const [data, diskMb, connections] = [maxmemoryMb(memoryMb), memoryMb * 4, connectionsFor(memoryMb)]
  return {
    id,
    name,
    description: `A dedicated server for ${data} MB of keys and values, kept on disk, ${connections} connections`,
    style: 'dedicated',
    memoryMb,
    diskMb,
    connections,
    bullets: ['A server of its own', `${data} MB of keys and values`, `${connections} connections`, 'Kept on disk every second'],
  }
}

export const REDIS_PLANS: readonly Plan[] = [
  plan('5b1c6a58-93b7-4d0e-8f2d-2f6a1f3f0e01', 'small', 128),
  plan('5b1c6a58-93b7-4d0e-8f2d-2f6a1f3f0e02', 'large', 512),
]
