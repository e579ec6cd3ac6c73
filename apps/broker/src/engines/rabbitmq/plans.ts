import { z } from 'zod'
import type { Offering, Plan } from '../engine.js'

export const RABBITMQ: Offering = {
  id: '9a4e2c10-5b7d-4f0e-8a43-1c9d7e6b0a05',
  name: 'rabbitmq',
  displayName: 'RabbitMQ',
  description: 'RabbitMQ virtual hosts with users of their own per binding; backups hold definitions and messages',
  tags: ['rabbitmq', 'amqp', 'messaging', 'queue'],
  documentationUrl: 'https://www.rabbitmq.com/docs',
  parameters: { create: z.strictObject({}), update: z.strictObject({}), bind: z.strictObject({}) },
}

export const RABBITMQ_PLANS: readonly Plan[] = [
  {
    id: '9a4e2c10-5b7d-4f0e-8a43-1c9d7e6b0b01',
    name: 'shared',
    description: 'A virtual host of its own on a server that instances share: 256 MB of messages, 50 connections',
    style: 'shared',
    memoryMb: 0,
    diskMb: 256,
    connections: 50,
    bullets: ['A virtual host on a common server', '256 MB of messages', '50 connections'],
  },
  {
    id: '9a4e2c10-5b7d-4f0e-8a43-1c9d7e6b0b02',
    name: 'small',
    description: 'A dedicated server with 384 MB of memory and 1 GB of disk',
    style: 'dedicated',
    memoryMb: 384,
    diskMb: 1_024,
    connections: 200,
    bullets: ['A server of its own', '384 MB of memory', '1 GB of disk', '200 connections'],
  },
  {
    id: '9a4e2c10-5b7d-4f0e-8a43-1c9d7e6b0b03',
    name: 'large',
    description: 'A dedicated server with 1 GB of memory and 4 GB of disk',
    style: 'dedicated',
    memoryMb: 1_024,
    diskMb: 4_096,
    connections: 1_000,
    bullets: ['A server of its own', '1 GB of memory', '4 GB of disk', '1000 connections'],
  },
]
