import { z } from 'zod'
import type { Offering, Plan } from '../engine.js'

export const POSTGRESQL: Offering = {
  id: '0f2c7f7e-6a53-4f5c-9c64-7a1b0f3f0a01',
  name: 'postgresql',
  displayName: 'PostgreSQL',
  description: 'PostgreSQL databases with users of their own per binding, backups and restore',
  tags: ['postgres', 'postgresql', 'pgsql', 'relational', 'sql'],
  documentationUrl: 'https://www.postgresql.org/docs/',
  parameters: { create: z.strictObject({}), update: z.strictObject({}), bind: z.strictObject({}) },
}

export const POSTGRESQL_PLANS: readonly Plan[] = [
  {
    id: '0f2c7f7e-6a53-4f5c-9c64-7a1b0f3f0b01',
    name: 'shared',
    description: 'A database of its own on a server that instances share: 1 GB of data, 20 connections per binding',
    style: 'shared',
    memoryMb: 0,
    diskMb: 1_024,
    connections: 20,
    bullets: ['A database on a common server', '1 GB of data', '20 connections per binding'],
  },
  {
    id: '0f2c7f7e-6a53-4f5c-9c64-7a1b0f3f0b02',
    name: 'small',
    description: 'A dedicated server with 256 MB of memory and 2 GB of disk',
    style: 'dedicated',
    memoryMb: 256,
    diskMb: 2_048,
    connections: 60,
    bullets: ['A server of its own', '256 MB of memory', '2 GB of disk', '60 connections'],
  },
  {
    id: '0f2c7f7e-6a53-4f5c-9c64-7a1b0f3f0b03',
    name: 'large',
    description: 'A dedicated server with 1 GB of memory and 10 GB of disk',
    style: 'dedicated',
    memoryMb: 1_024,
    diskMb: 10_240,
    connections: 150,
    bullets: ['A server of its own', '1 GB of memory', '10 GB of disk', '150 connections'],
  },
]
