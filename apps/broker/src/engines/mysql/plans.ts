import { z } from 'zod'
import type { Offering, Plan } from '../engine.js'

export const MYSQL: Offering = {
  id: '3d1b6a52-41d0-4d0b-8d5b-2f6f7f9c0a02',
  name: 'mysql',
  displayName: 'MySQL',
  description:
    'MySQL-compatible databases (MariaDB, or MySQL where its image is chosen) with users of their own per binding, backups and restore',
  tags: ['mysql', 'mariadb', 'relational', 'sql'],
  documentationUrl: 'https://mariadb.com/kb/en/documentation/',
  parameters: { create: z.strictObject({}), update: z.strictObject({}), bind: z.strictObject({}) },
}

export const MYSQL_PLANS: readonly Plan[] = [
  {
    id: '3d1b6a52-41d0-4d0b-8d5b-2f6f7f9c0b01',
    name: 'shared',
    description: 'A database of its own on a server that instances share: 1 GB of data, 20 connections per binding',
    style: 'shared',
    memoryMb: 0,
    diskMb: 1_024,
    connections: 20,
    bullets: ['A database on a common server', '1 GB of data', '20 connections per binding'],
  },
  {
    id: '3d1b6a52-41d0-4d0b-8d5b-2f6f7f9c0b02',
    name: 'small',
    description: 'A dedicated server with 384 MB of memory and 2 GB of disk',
    style: 'dedicated',
    memoryMb: 384,
    diskMb: 2_048,
    connections: 60,
    bullets: ['A server of its own', '384 MB of memory', '2 GB of disk', '60 connections per binding'],
  },
  {
    id: '3d1b6a52-41d0-4d0b-8d5b-2f6f7f9c0b03',
    name: 'large',
    description: 'A dedicated server with 1 GB of memory and 10 GB of disk',
    style: 'dedicated',
    memoryMb: 1_024,
    diskMb: 10_240,
    connections: 150,
    bullets: ['A server of its own', '1 GB of memory', '10 GB of disk', '150 connections per binding'],
  },
]
