import { z } from 'zod'
import type { Offering, Plan } from '../engine.js'

export const MONGODB: Offering = {
  id: '7d4e2f90-1c3b-4a86-b5d7-3c9a1f3f0f01',
  name: 'mongodb',
  displayName: 'MongoDB',
  description: 'Document databases that MongoDB drivers speak to, with a user per binding, backups and restore',
  tags: ['mongodb', 'mongo', 'document', 'nosql'],
  documentationUrl: 'https://www.mongodb.com/docs/drivers/',
  parameters: { create: z.strictObject({}), update: z.strictObject({}), bind: z.strictObject({}) },
}

/** Of a real server: what beside its cache a connection takes. */
export const mongodConnectionsFor = (memoryMb: number): number => Math.floor(memoryMb / 4)

const real = (id: string, name: string, memoryMb: number, diskMb: number): Plan => ({
  id,
  name,
  description:
    `A MongoDB server of its own with ${memoryMb} MB of memory, as a replica set of one, so that transactions and change streams work; ` +
    `${diskMb} MB of data, ${mongodConnectionsFor(memoryMb)} connections`,
  style: 'dedicated',
  memoryMb,
  diskMb,
  connections: mongodConnectionsFor(memoryMb),
  bullets: [
    'A MongoDB server of its own',
    'Transactions and change streams: a replica set of one member',
    `${memoryMb} MB of memory`,
    `${diskMb} MB of data`,
    `${mongodConnectionsFor(memoryMb)} connections`,
  ],
})

/** On servers of MongoDB itself: offered where its image or its programs are to be had. */
export const MONGOD_PLANS: readonly Plan[] = [
  real('7d4e2f90-1c3b-4a86-b5d7-3c9a1f3f1b01', 'small', 512, 2_048),
  real('7d4e2f90-1c3b-4a86-b5d7-3c9a1f3f1b02', 'large', 1_536, 10_240),
]

/** The rest of an instance's memory is for the gate before the server, and for what a JVM needs beside its heap. */
const BESIDE_THE_HEAP_MB = 192
const MIB = 1024 * 1024

export const heapMb = (memoryMb: number): number => memoryMb - BESIDE_THE_HEAP_MB
export const connectionsFor = (memoryMb: number): number => Math.min(heapMb(memoryMb), 300)
/** One document of the largest size always fits; batches are cut by drivers to what they are told. */
export const maxMessageBytes = (memoryMb: number): number =>
  Math.max(16 * MIB + 16 * 1024, Math.floor((heapMb(memoryMb) * MIB) / 6))

const development = (id: string, name: string, memoryMb: number, diskMb: number): Plan => ({
  id,
  name,
  description:
    `A MongoDB-compatible server for development, not MongoDB: no transactions, change streams, text search or replica sets, ` +
    `and a crash may lose the last second; ${diskMb} MB of data, ${connectionsFor(memoryMb)} connections`,
  style: 'dedicated',
  memoryMb,
  diskMb,
  connections: connectionsFor(memoryMb),
  bullets: [
    'A development server of its own; MongoDB-compatible, not MongoDB',
    'No transactions, change streams, text search, replica sets',
    `${diskMb} MB of data; what an aggregation groups has to fit into ${heapMb(memoryMb)} MB of memory`,
    `${connectionsFor(memoryMb)} connections`,
  ],
})

/** On development servers. */
export const DEVELOPMENT_PLANS: readonly Plan[] = [
  development('7d4e2f90-1c3b-4a86-b5d7-3c9a1f3f1a01', 'development', 320, 256),
  development('7d4e2f90-1c3b-4a86-b5d7-3c9a1f3f1a02', 'development-large', 640, 1_024),
]
