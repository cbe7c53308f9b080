// Addresses of this service, which a proxy may serve below a path.

const home = new URL("..", import.meta.url);

export function addressOf(path) {
  return new URL(path, home).href;
}
