const path = require('node:path')
const compression = require('compression')
const cookieParser = require('cookie-parser')
const cors = require('cors')
const { formatISO } = require('date-fns')
const express = require('express')
const session = require('express-session')
const helmet = require('helmet')
const Joi = require('joi')
const _ = require('lodash')
const morgan = require('morgan')
const { nanoid } = require('nanoid')
const { v4: uuid } = require('uuid')
const { WebSocketServer } = require('ws')

const app = express()
app.set('view engine', 'ejs')
app.set('views', path.join(__dirname, 'views'))
app.set('trust proxy', 1)
app.use(morgan('tiny'), helmet(), cors(), compression(), cookieParser(), express.json())
app.use(session({ secret: process.env.SESSION_SECRET || nanoid(32), resave: false, saveUninitialized: false, name: 'JSESSIONID' }))

app.get('/', (request, response) => {
  response.render('index', {
    name: JSON.parse(process.env.VCAP_APPLICATION || '{}').name || 'express-app',
    index: process.env.CF_INSTANCE_INDEX || '0',
    time: formatISO(new Date()),
    node: process.version,
  })
})
app.get('/health', (request, response) => response.json({ status: 'ok', id: uuid() }))
app.get('/env/:name', (request, response) => response.json({ [request.params.name]: process.env[request.params.name] ?? null }))
app.get('/visits', (request, response) => {
  request.session.visits = (request.session.visits || 0) + 1
  response.json({ visits: request.session.visits, index: process.env.CF_INSTANCE_INDEX })
})
app.post('/sum', (request, response) => {
  const { value, error } = Joi.object({ numbers: Joi.array().items(Joi.number()).required() }).validate(request.body)
  if (error) return response.status(422).json({ error: error.message })
  return response.json({ sum: _.sum(value.numbers) })
})

const port = Number(process.env.PORT || 8080)
const server = app.listen(port, () => console.log(`express-app listening on ${port}`))
new WebSocketServer({ server, path: '/echo' }).on('connection', (socket) => socket.on('message', (data) => socket.send(String(data))))
process.on('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
