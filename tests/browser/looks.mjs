// Views of the admin page in every look: `node looks.mjs ADMIN_URL NAME=PATH...`.
//
// Prints a line for each view in each look and fails where something is wrong with one.
import puppeteer from "puppeteer-core";
import { look, looks, sound } from "./sound.mjs";

const [admin, ...views] = process.argv.slice(2);
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // As root, in a container, there is no other way.
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"],
});
for (const name of Object.keys(looks)) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  await page.authenticate({ username: "admin", password: "secret" });
  await look(page, name);
  for (const view of views) {
    const end = view.indexOf("=");
    const what = `${view.slice(0, end)}-${name}`;
    try {
      await sound(page, admin + view.slice(end + 1), what);
      console.log(`ok ${what}`);
    } catch (error) {
      console.log(`not ok ${what}: ${error.stack}`);
      process.exitCode = 1;
    }
  }
  await context.close();
}
await browser.close();
