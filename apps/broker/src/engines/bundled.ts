import type { ServerUser } from '@bloomery/embedded'
import type { ServerHost, Software } from '../servers/server-host.js'
import type { Engine } from './engine.js'
import { developmentSoftware, type DevelopmentSoftwareOptions } from './mongodb/development-software.js'
import { DevelopmentServers } from './mongodb/development.js'
import { mongodSoftware } from './mongodb/mongod-software.js'
import { MongodServers } from './mongodb/mongod.js'
import { MongodbEngine } from './mongodb/mongodb.js'
import { MysqlEngine } from './mysql/mysql.js'
import { mysqlSoftware } from './mysql/software.js'
import { PostgresqlEngine } from './postgresql/postgresql.js'
import { postgresSoftware } from './postgresql/software.js'
import { RabbitmqEngine } from './rabbitmq/rabbitmq.js'
import { rabbitmqSoftware } from './rabbitmq/software.js'
import { RedisEngine } from './redis/redis.js'
import { redisSoftware } from './redis/software.js'

export interface BundledOptions {
  readonly owner: ServerUser | undefined
  /** BLOOMERY_HOME. */
  readonly home: string
  readonly mongodb: DevelopmentSoftwareOptions
  readonly images: Readonly<Record<'mysql' | 'postgresql' | 'mongodb' | 'rabbitmq' | 'redis', string>>
}

/** All kinds of servers that the broker knows how to run. */
export const bundledSoftware = (options: BundledOptions): readonly Software[] => [
  mysqlSoftware({ image: options.images.mysql }),
  postgresSoftware({ ...options, image: options.images.postgresql }),
  rabbitmqSoftware({ image: options.images.rabbitmq }),
  redisSoftware({ ...options, image: options.images.redis }),
  mongodSoftware({ image: options.images.mongodb }),
  developmentSoftware(options.mongodb),
]

/** All offerings, in the order of the marketplace. */
export const bundledEngines = (servers: ServerHost, options: BundledOptions): readonly Engine[] => [
  new MysqlEngine(servers),
  new PostgresqlEngine(servers),
  new MongodbEngine([new MongodServers(servers), new DevelopmentServers(servers, options.mongodb.parts)]),
  new RedisEngine(servers),
  new RabbitmqEngine(servers),
]
