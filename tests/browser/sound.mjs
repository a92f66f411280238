// What holds for every view of the admin page, however it is looked at.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const folder = process.env.SCREENSHOTS;

const desktop = { width: 1280, height: 900 };
const phone = { width: 390, height: 844, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

export const looks = {
  light: [desktop, "light"],
  dark: [desktop, "dark"],
  phone: [phone, "light"],
  "phone-dark": [phone, "dark"],
};

// Makes a page look as one of the looks.
export async function look(page, name) {
  const [viewport, scheme] = looks[name];
  await page.setViewport(viewport);
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.setBypassCSP(true); // only so that axe itself may be injected
}

// Goes to an address and finds nothing wrong there. With SCREENSHOTS set to a folder, what was seen is
// left in it.
export async function sound(page, address, name) {
  await page.goto(address);
  if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${name} is ${wide} px too wide`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run());
  const grave = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const words = grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(words, [], name);
}
